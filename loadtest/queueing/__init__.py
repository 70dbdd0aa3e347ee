"""How a service queues: its measured tables, and the simulation made of them."""
