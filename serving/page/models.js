// Shows what GET /models says of each cascade: the promise, its audit, the models, drift, and the way to the expert.
import { SHOWN_LABELS, element, percent } from "./showing.js";

function list(entries) {
  const made = document.createElement("dl");
  for (const [name, ...said] of entries) {
    const value = element("dd");
    value.append(...said);
    made.append(element("dt", name), value);
  }
  return made;
}

function promise(point) {
  if (!point.applies) {
    return [element("span", "does not apply: ", "bad"), point.why_not.join("; ")];
  }
  return [element("span", point.promise.certified ? "holds: " : "none: ", point.promise.certified ? "good" : "warn"), point.promise.statement];
}

function drift({ n, psi, escalation_share, drifted, reasons }) {
  const seen = `items seen: ${n}, index ${psi.toFixed(3)}, ${percent(escalation_share)} escalated`;
  if (drifted === null) return [element("span", "too few items: ", "warn"), seen];
  return drifted ? [element("span", "drifted: ", "bad"), reasons.join("; ")] : [element("span", "none: ", "good"), seen];
}

function audit(said) {
  if (said === null) return [element("span", "none: ", "warn"), "nothing is promised, or audit_share is 0"];
  const { promise: state, audited, disagreed, dropped, bound, why, raised } = said;
  const kind = { holds: "good", undecided: "warn", broken: "bad" }[state];
  const counts = `${audited} audited, ${disagreed} with another answer than the expert's, ${dropped} dropped`;
  const known = why || `at most ${percent(bound)} of all answers differ from the expert's`;
  const rose = raised.length ? `; the threshold has risen to ${raised[raised.length - 1].threshold.toFixed(4)}` : "";
  return [element("span", `${state}: `, kind), `${counts}; ${known}${rose}`];
}

function labels(all) {
  const more = all.length > SHOWN_LABELS ? `, and ${all.length - SHOWN_LABELS} more` : "";
  return all.slice(0, SHOWN_LABELS).join(", ") + more;
}

function stage(model) {
  const { got, variant } = model.execution_provider;
  const accuracy = model.quality?.[variant]?.holdout_accuracy;
  const runs = got ? `${variant} on ${got.replace("ExecutionProvider", "")}` : (model.execution_provider.error ?? "not known");
  const quality = accuracy === undefined ? "" : `, ${percent(accuracy)} right on the holdout`;
  return `${model.tag}, ${runs}${quality}, digest ${model.digest.slice(0, 12)}`;
}

function cascade(described, several) {
  const card = element("section", "", "card");
  const { name, kind, screen, expert, operating_point: point, breaker } = described;
  const title = kind === "text" ? "Texts" : "Images";
  const calls = element("span", breaker, breaker === "closed" ? "good" : "bad");
  card.append(
    element("h2", several ? `${title}: ${name}` : title),
    list([
      ["Promise", ...promise(point)],
      ["Screen", stage(screen)],
      ["Expert", stage(expert)],
      ["Threshold", `${point.threshold.toFixed(4)}; ${percent(point.escalation_share)} are expected to escalate`],
      ["Audit", ...audit(described.audit)],
      ["Drift", ...drift(described.drift)],
      ["Breaker", calls, breaker === "closed" ? ": the expert is asked" : ": the expert is left alone for a while"],
      ["Labels", labels(screen.labels)],
      ["Data", screen.data],
    ]),
  );
  card.dataset.kind = kind;
  return card;
}

export function showModels(cascades) {
  const of = (kind) => cascades.filter((each) => each.kind === kind).length;
  const cards = cascades.map((each) => cascade(each, of(each.kind) > 1));
  document.getElementById("models").replaceChildren(...cards);
}
