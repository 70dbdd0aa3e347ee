// Swagger UI, whose script runs before this module. It must not ask another host whether the document is sound.
import { keyHeaders, onKey } from "./key.js";

const $ = (id) => document.getElementById(id);

function withKey(request) {
  Object.assign(request.headers, keyHeaders());
  return request;
}

async function show() {
  const reply = await fetch("docs.json", { method: "HEAD", headers: keyHeaders() });
  $("locked").hidden = reply.status !== 401;
  if (!$("locked").hidden) return $("key").focus();
  globalThis.SwaggerUIBundle({ url: "docs.json", domNode: $("reference"), validatorUrl: null, requestInterceptor: withKey });
}

onKey($("key"), show);
show();
