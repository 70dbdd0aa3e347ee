// Asks the service what its visitor types or drops. What the service takes stands in docs.json; nothing is repeated here.
import { curlLine, timed } from "./asking.js";
import { hasKey, keyHeaders, onKey } from "./key.js";
import { showModels } from "./models.js";
import { hide, showAnswer, showProblem } from "./showing.js";

const $ = (id) => document.getElementById(id);
const PREVIEW_PIXELS = 160;
let image = null;
let cascades = [];

function kind() {
  return document.querySelector("input[name=kind]:checked")?.value ?? "text";
}

const ofKind = () => cascades.filter((each) => each.kind === kind());

function chosen() {
  const those = ofKind();
  return those.find((each) => each.name === $("model").value) ?? those[0];
}

function asked() {
  return {
    kind: kind(),
    text: $("text").value,
    pair: $("second").hidden ? null : $("text-pair").value,
    image,
    model: ofKind().length > 1 ? chosen().name : null,
    budget: $("budget").value,
    priority: $("priority").value,
  };
}

// The names that there are to choose from. The service was given them once, so a later look finds the same.
function offer() {
  const those = ofKind();
  $("which").hidden = those.length < 2;
  $("model").replaceChildren(...those.map((each) => new Option(each.name)));
}

function refresh() {
  $("second").hidden = !chosen()?.pairs;
  $("of-text").hidden = kind() !== "text";
  $("of-image").hidden = kind() !== "image";
  $("curl").textContent = curlLine(asked());
}

async function send() {
  if (kind() === "image" && !image) {
    showProblem("No image yet", "drop one, or choose a file");
    return;
  }
  $("send").disabled = true;
  try {
    const reply = await timed(asked());
    if (reply.ok) showAnswer(reply, chosen());
    else showProblem(`${reply.status}`, reply.said, reply.retryAfter);
  } catch (error) {
    showProblem("No answer", `${error.message}; is the service still running?`);
  } finally {
    $("send").disabled = false;
  }
  await loadModels();
}

async function take(file) {
  image = file;
  $("file-name").textContent = file.name;
  refresh();
  await preview(file);
  await send();
}

// A canvas needs no address of its own for the file, which the page's policy would have to allow.
async function preview(file) {
  const canvas = $("preview");
  try {
    const picture = await createImageBitmap(file);
    const scale = PREVIEW_PIXELS / Math.max(picture.width, picture.height);
    canvas.width = Math.max(1, Math.round(picture.width * scale));
    canvas.height = Math.max(1, Math.round(picture.height * scale));
    const drawing = canvas.getContext("2d");
    drawing.imageSmoothingEnabled = scale < 1;
    drawing.drawImage(picture, 0, 0, canvas.width, canvas.height);
    canvas.hidden = false;
  } catch {
    canvas.hidden = true; // the service reads formats that a browser does not
  }
}

// What an address says; undefined where the service wants a key, for which the page then asks.
async function told(address) {
  const reply = await fetch(address, { headers: keyHeaders() });
  if (reply.status === 401) {
    $("locked").hidden = false;
    if (hasKey()) showProblem("401", (await reply.json()).error.message);
  }
  return reply.ok ? reply.json() : undefined;
}

async function loadModels() {
  const described = await told("models");
  if (!described) return;
  const { text, image, others = [] } = described;
  cascades = [text, image, ...others].filter(Boolean);
  showModels(cascades);
}

async function begin() {
  const [, api] = await Promise.all([loadModels(), told("docs.json")]);
  if (!api) {
    if ($("locked").hidden) throw new Error("the service does not say what it takes");
    return $("key").focus();
  }
  const { schemas } = api.components;
  $("budget").placeholder = schemas.Budget.examples[0];
  $("budget").max = schemas.Budget.maximum;
  const kinds = [...new Set(cascades.map((each) => each.kind))];
  $("kinds").hidden = kinds.length < 2;
  for (const choice of document.querySelectorAll("input[name=kind]")) choice.checked = choice.value === kinds[0];
  offer();
  refresh();
}

$("ask").addEventListener("submit", (event) => {
  event.preventDefault();
  send();
});
$("ask").addEventListener("input", refresh);
$("ask").addEventListener("change", (event) => {
  if (event.target.name === "kind") offer();
  if (event.target.name === "kind" || event.target.id === "model") hide();
  refresh();
});
$("ask").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) $("ask").requestSubmit();
});
$("file").addEventListener("change", () => {
  if ($("file").files.length) take($("file").files[0]);
});
for (const type of ["dragover", "dragleave", "drop"]) {
  $("drop").addEventListener(type, (event) => {
    event.preventDefault();
    $("drop").classList.toggle("over", type === "dragover");
    if (type === "drop" && event.dataTransfer.files.length) take(event.dataTransfer.files[0]);
  });
}
$("copy").addEventListener("click", async () => {
  try {
    await navigator.clipboard.writeText($("curl").textContent);
    $("copied").textContent = "Copied.";
  } catch {
    // Browsers give the clipboard to pages over HTTPS and on this machine alone.
    getSelection().selectAllChildren($("curl"));
    $("copied").textContent = "Selected: copy it with Ctrl + C.";
  }
});
const start = () => begin().catch((error) => showProblem("The page could not start", error.message));
onKey($("key"), () => {
  hide();
  start();
});
start();
