// A request to the service, and the curl line of the same request.
import { hasKey, keyHeaders } from "./key.js";

const number = (text) => (text.trim() === "" ? undefined : Number(text));

function body(asked) {
  const budget_ms = number(asked.budget);
  // What is undefined is left out of JSON.
  return { text: asked.text, text_pair: asked.pair ?? undefined, model: asked.model ?? undefined, budget_ms };
}

const imageAddress = (asked) =>
  asked.model === null ? "classify_image" : `classify_image?model=${encodeURIComponent(asked.model)}`;

function request(asked) {
  const headers = { ...keyHeaders(), ...(asked.priority === "high" ? { "X-Priority": "high" } : {}) };
  if (asked.kind === "text") {
    headers["Content-Type"] = "application/json";
    return ["classify_text", { method: "POST", headers, body: JSON.stringify(body(asked)) }];
  }
  const form = new FormData();
  form.append("image", asked.image);
  if (asked.budget.trim() !== "") form.append("budget_ms", asked.budget);
  return [imageAddress(asked), { method: "POST", headers, body: form }];
}

// The answer or the error, with the milliseconds that the browser counts from the request to the answer's last byte.
export async function timed(asked) {
  const [address, options] = request(asked);
  const begin = performance.now();
  const reply = await fetch(address, options);
  const text = await reply.text();
  const took_ms = performance.now() - begin;
  let answer;
  try {
    answer = JSON.parse(text);
  } catch {
    answer = { error: { message: "an answer that is not JSON, so it came from something in front of the service" } };
  }
  const ok = reply.ok && !answer.error;
  const said = answer.error?.message;
  return { ok, answer, took_ms, said, status: reply.status, retryAfter: reply.headers.get("Retry-After") };
}

const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;

export function curlLine(asked) {
  const address = (path) => quoted(new URL(path, document.baseURI).href);
  const priority = asked.priority === "high" ? " -H 'X-Priority: high'" : "";
  // The line may be copied to where others read it, so it names a variable.
  const more = (hasKey() ? ' -H "X-API-Key: $SIEVE_KEY"' : "") + priority;
  if (asked.kind === "text") {
    const sent = quoted(JSON.stringify(body(asked)));
    return `curl -s ${address("classify_text")}${more} -H 'Content-Type: application/json' -d ${sent}`;
  }
  const budget = asked.budget.trim() === "" ? "" : ` -F budget_ms=${quoted(asked.budget.trim())}`;
  const file = quoted(`image=@${asked.image?.name ?? "FILE"}`);
  return `curl -s ${address(imageAddress(asked))}${more} -F ${file}${budget}`;
}
