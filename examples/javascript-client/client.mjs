// Classify texts and images with Sieve: node client.mjs URL TEXT_OR_IMAGE_FILE...
const TRIES = 4;
const IMAGES = ["jpg", "jpeg", "png", "webp", "gif", "bmp", "tif", "tiff"];

/** The service refused a request; the message says which field, why, and what to do. */
export class SieveError extends Error {}

export class Sieve {
  constructor(url, { budgetMs = 50 } = {}) {
    this.url = url;
    this.budgetMs = budgetMs;
  }

  /** The answer for one text. */
  text(text) {
    return this.#post("/classify_text", "application/json", JSON.stringify({ text }));
  }

  /** An answer, or an object with `error`, for each of up to 64 texts. */
  async texts(texts) {
    return (await this.#post("/classify_texts", "application/json", JSON.stringify({ texts }))).answers;
  }

  /** The answer for the bytes of an image file; the service tells by them which kind of image it is. */
  image(bytes) {
    return this.#post("/classify_image", "application/octet-stream", bytes);
  }

  async #post(address, type, body) {
    const headers = { "Content-Type": type, "X-Budget-Ms": String(this.budgetMs) };
    for (let attempt = 1; ; attempt++) {
      const signal = AbortSignal.timeout(this.budgetMs + 5000);
      const reply = await fetch(this.url + address, { method: "POST", headers, body, signal });
      const answer = await reply.json();
      if (reply.ok) return answer;
      if (reply.status !== 503 || attempt === TRIES) {
        throw new SieveError(`${answer.error.message} (request ${answer.request_id})`);
      }
      await new Promise((resolve) => setTimeout(resolve, 1000 * Number(reply.headers.get("Retry-After"))));
    }
  }
}

async function main(url, ...inputs) {
  const { readFile } = await import("node:fs/promises");
  const sieve = new Sieve(url);
  for (const given of inputs) {
    const isImage = IMAGES.includes(given.split(".").pop().toLowerCase());
    const answer = isImage ? await sieve.image(await readFile(given)) : await sieve.text(given);
    const note = answer.degraded ? `, degraded: ${answer.degraded}` : "";
    console.log(`${answer.label} (${Math.round(100 * answer.confidence)}%, ${answer.stage}${note}): ${given}`);
  }
}

if (globalThis.process?.argv[1]?.endsWith("client.mjs")) {
  main(...process.argv.slice(2)).catch((error) => {
    console.error(`error: ${error.message}`);
    process.exitCode = 1;
  });
}
