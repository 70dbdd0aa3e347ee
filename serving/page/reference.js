// Swagger UI, whose script runs before this module. It must not ask another host whether the document is sound.
globalThis.SwaggerUIBundle({ url: "docs.json", domNode: document.getElementById("reference"), validatorUrl: null });
