// The visitor's key, where the API wants one. It is kept in this module alone, and gone when the page closes.
let key = "";

export const setKey = (typed) => (key = typed.trim());
export const hasKey = () => key !== "";
export const keyHeaders = () => (hasKey() ? { "X-API-Key": key } : {});

// Calls `use` with each key that is typed. Enter means no more than that the key is whole.
export function onKey(field, use) {
  field.addEventListener("change", () => {
    setKey(field.value);
    use();
  });
  field.addEventListener("keydown", (event) => {
    if (event.key !== "Enter") return;
    event.preventDefault();
    field.blur();
  });
}
