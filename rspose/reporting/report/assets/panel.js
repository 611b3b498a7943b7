// The panel of a cell: opened by its address (#cell/...), so that a cell can be linked to and found again.
const panel = document.getElementById("panel");
let opener = null;

function startPanel() {
  document.getElementById("panel-close").addEventListener("click", () => panel.close());
  panel.addEventListener("click", (event) => { if (event.target === panel) panel.close(); });
  panel.addEventListener("close", () => {
    if (location.hash.startsWith("#cell/")) history.replaceState(null, "", location.href.split("#")[0]);
    document.getElementById("panel-body").replaceChildren();
    opener?.focus({ preventScroll: true });
    opener = null;
  });
  document.addEventListener("click", (event) => {
    const link = event.target.closest?.('a[href^="#cell/"]');
    // The same address twice is no change, so that it would not open again.
    if (link && link.hash === location.hash) showCell();
  });
  addEventListener("hashchange", showCell);
  showCell();
}

function showCell() {
  if (!location.hash.startsWith("#cell/")) {
    if (panel.open) panel.close();
    return;
  }
  const key = location.hash.slice("#cell/".length).split("/").map(decodeURIComponent).join("/");
  const cell = dataOf("cells")[key];
  if (!panel.open) opener = document.activeElement;
  document.getElementById("panel-title").textContent = cell ? cell.title : "No such cell";
  document.getElementById("panel-place").textContent = cell ? cell.place.join(" · ") : "";
  const body = document.getElementById("panel-body");
  body.replaceChildren(...(cell ? parts(key, cell) : [make("p", {}, `These records have no cell ${key}.`)]));
  if (!panel.open) panel.showModal();
  panel.scrollTop = 0;
  document.getElementById("panel-title").focus({ preventScroll: true });
}

function parts(key, cell) {
  const found = [];
  if (cell.generated) found.push(make("p", { class: "badge generated" }, make("strong", {}, "Generated data."), " Compares losses with each other, never with publications."));
  if (cell.generated === false) found.push(make("p", { class: "badge" }, "Real data."));
  if (cell.reconstruction) found.push(make("p", { class: "badge" }, "† Reconstruction: the publication leaves details open, which were filled in here."));
  for (const failure of cell.failures) {
    found.push(make("p", { class: "error" }, make("strong", {}, `Seed ${failure.seed} failed in the step ${failure.rule}: `), failure.error));
  }
  if (cell.scores.length) found.push(heading("Numbers"), ...numbers(cell));
  if (cell.claims.length) found.push(heading("Claimed"), claims(cell));
  found.push(heading("Predictions"), predictions(key, cell));
  if (!cell.control && cell.seeds.length) {
    const curves = chartsOf("learning_curves", key);
    found.push(heading("Learning curves"), ...curves.map((chart) => chartPlace(chart, `Learning curves of ${cell.title}`)));
    if (!curves.length) found.push(make("p", { class: "notes" }, "The records hold no learning curve."));
  }
  for (const chart of chartsOf("factors", key)) found.push(heading(chart.title), chartPlace(chart, chart.title));
  if (cell.commands.length) {
    found.push(heading("Make it again"), ...cell.commands.map(command));
    found.push(make("p", { class: "notes" }, "In the repository, at the commit below; what is there is overwritten."));
  }
  for (const group of cell.facts) found.push(heading(group.title), facts(group, cell.seeds));
  return found;
}

const heading = (text) => make("h3", {}, text);

// A table of each group of scores; with one seed they stand beside each other.
function numbers(cell) {
  const several = cell.seeds.length > 1;
  const columns = several ? ["all seeds", ...cell.seeds.map((seed) => `seed ${seed}`)] : [cell.control ? "" : `seed ${cell.seeds[0]}`];
  const tables = [...new Set(cell.scores.map((score) => score.group))].map((group) => {
    const head = make("tr", {}, make("th", { scope: "col", class: "pinned" }, group),
      ...columns.map((name) => make("th", { scope: "col", class: "number" }, name)));
    const rows = cell.scores.filter((score) => score.group === group).map((score) =>
      make("tr", {}, make("th", { scope: "row", class: "pinned" }, score.name),
        ...[score.all, ...(several ? score.seeds : [])].map((text) => make("td", { class: "number" }, text))));
    const table = make("table", { class: "numbers" }, make("thead", {}, head), make("tbody", {}, ...rows));
    return make("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": group }, table);
  });
  const found = [];
  const one = cell.differences;
  if (one) {
    found.push(make("p", {}, `Difference to MSE in ${one.metric}: `, make("strong", {}, one.difference),
      ` points, ${one.basis}; probability of being better ${one.probability}; p ${one.p} (Holm).`));
  }
  found.push(make("div", { class: several ? "" : "beside" }, ...tables));
  return found;
}

function claims(cell) {
  const lines = cell.claims.map((claim) => make("tr", {}, make("th", { scope: "row" }, claim.metric), make("td", {}, claim.claimed),
    make("td", {}, claim.measured), make("td", {}, claim.verdict), make("td", {}, claim.source)));
  const head = ["", "claimed", "measured", "verdict", "source"].map((text) => make("th", { scope: "col" }, text));
  return make("table", { class: "facts" }, make("thead", {}, make("tr", {}, ...head)), make("tbody", {}, ...lines));
}

function predictions(key, cell) {
  const { cells, crops, skeletons } = dataOf("drawings");
  const mine = cells[key];
  if (!mine) {
    return make("p", { class: "notes" }, cell.control
      ? "Controls are not drawn."
      : "No prediction files were at hand: they lie beside the folder of records, in cells/.");
  }
  const skeleton = skeletons[cell.dataset];
  const people = mine.people.map((person) => {
    const crop = crops[person.crop];
    return make("figure", { class: "person" },
      make("div", { class: "pair" }, truthOf(crop, skeleton), predictionOf(crop, skeleton, person.points, cell.title)),
      make("figcaption", {}, `${crop.name}: truth, prediction`));
  });
  return make("div", {}, make("div", { class: "people" }, ...people),
    make("p", { class: "notes" }, `Of seed ${mine.seed}. Blue: the person's own left; orange: right. The fainter, the lower the confidence.`));
}

function command(text) {
  const button = make("button", { type: "button" }, "Copy");
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(text);
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = "Copy"; }, 2000);
  });
  const box = make("div", { class: "command" }, make("pre", {}, make("code", {}, text)));
  if (navigator.clipboard) box.append(button);
  return box;
}

function facts(group, seeds) {
  const each = group.lines.some((line) => line.values.length > 1);
  const rows = group.lines.map((line) => {
    const shared = line.values.length === 1;
    const cells = line.values.map((value) => make("td", shared && each ? { colspan: seeds.length } : {}, value));
    return make("tr", {}, make("th", { scope: "row" }, line.name), ...cells);
  });
  const table = make("table", { class: "facts" });
  if (each) table.append(make("thead", {}, make("tr", {}, make("th", {}, ""), ...seeds.map((seed) => make("th", { scope: "col" }, `seed ${seed}`)))));
  table.append(make("tbody", {}, ...rows));
  return make("div", { class: "scroll" }, table);
}
