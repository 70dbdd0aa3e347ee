// Shows an answer, or the error in its place.

const $ = (id) => document.getElementById(id);
const FALLBACK = {
  deadline: "the expert would have been too late",
  shed: "the expert refused the call because of load",
  down: "the expert cannot be reached",
};
export const SHOWN_LABELS = 20;
export const percent = (share) => `${(100 * share).toFixed(1)} %`;
const ms = (value) => `${value.toFixed(value < 10 ? 2 : 1)} ms`;

export function element(tag, text = "", className = "") {
  const made = document.createElement(tag);
  made.textContent = text;
  if (className) made.className = className;
  return made;
}

export function hide() {
  $("answer").hidden = $("problem").hidden = true;
}

export function showProblem(head, said, retryAfter = null) {
  hide();
  const later = retryAfter ? ` (Retry-After: ${retryAfter} s)` : "";
  $("problem").replaceChildren(element("strong", head), ` ${said}${later}`);
  $("problem").hidden = false;
}

function bar(name, from, share, said, className) {
  const row = element("div", "", `bar ${className}`);
  row.setAttribute("role", "listitem");
  const track = element("span", "", "track");
  const filled = document.createElement("i");
  filled.style.left = `${100 * from}%`;
  filled.style.width = `${100 * share}%`;
  track.append(filled);
  row.append(element("span", name), track, element("span", said));
  return row;
}

function whoAnswered(answer) {
  if (answer.degraded) return `by the screen as a fallback: ${FALLBACK[answer.degraded] ?? answer.degraded}`;
  return answer.stage === "expert" ? "by the expert, as the screen was unsure" : "by the screen, which was sure";
}

function scoreBars(answer, leastScores) {
  const chosen = new Set(answer.labels ?? [answer.label]);
  const ranked = Object.entries(answer.scores).sort(([, a], [, b]) => b - a);
  const shown = ranked.filter(([label], place) => place < SHOWN_LABELS || chosen.has(label));
  return shown.map(([label, score]) => {
    const row = bar(label, 0, score, percent(score), chosen.has(label) ? "best" : "");
    const least = leastScores?.[label];
    if (least !== undefined) {
      const mark = element("b", "", "least");
      mark.style.left = `${100 * least}%`;
      mark.title = `given from ${percent(least)} on`;
      row.querySelector(".track").append(mark);
    }
    return row;
  });
}

// The parts follow each other. What the browser counts beyond the server's total is the network's, and its own.
function partBars(timings, took_ms) {
  const { total, ...parts } = timings;
  const network = Math.max(0, took_ms - total);
  const whole = network + total;
  let from = 0;
  return Object.entries({ network, ...parts }).map(([name, took]) => {
    const row = bar(name, from / whole, took / whole, ms(took), "");
    from += took;
    return row;
  });
}

export function showAnswer({ answer, took_ms }, model) {
  hide();
  const labels = answer.labels ?? [answer.label];
  const named = element("strong", labels.length ? labels.join(", ") : "no label");
  const part = answer.truncated ? " A part of the text was not read: it is too long for the models." : "";
  const inMs = `in ${ms(took_ms)}, ${ms(answer.timings_ms.total)} of them in the server.`;
  $("summary").replaceChildren(named, ` ${percent(answer.confidence)}, ${whoAnswered(answer)}, ${inMs}${part}`);
  $("summary").dataset.stage = answer.degraded ? "fallback" : answer.stage;
  $("scores").replaceChildren(...scoreBars(answer, model?.[answer.stage]?.least_scores));
  $("parts").replaceChildren(...partBars(answer.timings_ms, took_ms));
  $("request-id").textContent = `Request ${answer.request_id}`;
  $("answer").hidden = false;
}
