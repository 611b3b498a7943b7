// The panel of a cell: opened by its address (#cell/...), so that a cell can be linked to and found again.
const panel = document.getElementById("panel");
let opener = null;
let read = null;

function cellPanels() {
  read ??= unpack("panels").then((text) => new DOMParser().parseFromString(text, "text/html"));
  return read;
}

function startPanel() {
  document.getElementById("panel-close").addEventListener("click", () => panel.close());
  panel.addEventListener("click", (event) => {
    if (event.target === panel) panel.close();
    if (event.target.matches(".command button")) copy(event.target);
  });
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

async function showCell() {
  const { hash } = location;
  if (!hash.startsWith("#cell/")) {
    if (panel.open) panel.close();
    return;
  }
  if (!panel.open) opener = document.activeElement;
  const key = hash.slice("#cell/".length).split("/").map(decodeURIComponent).join("/");
  const cell = (await cellPanels()).getElementById(`cell/${key}`);
  if (location.hash !== hash) return;
  document.getElementById("panel-title").textContent = cell?.dataset.title ?? "No such cell";
  document.getElementById("panel-place").textContent = cell?.dataset.place ?? "";
  const body = document.getElementById("panel-body");
  body.replaceChildren(cell ? document.importNode(cell, true) : make("p", {}, `These records have no cell ${key}.`));
  for (const button of body.querySelectorAll(".command button")) button.hidden = !navigator.clipboard;
  for (const place of body.querySelectorAll("[data-chart]")) drawChartsOf(place, key);
  if (!panel.open) panel.showModal();
  panel.scrollTop = 0;
  document.getElementById("panel-title").focus({ preventScroll: true });
}

// The charts of a kind, with what they have of one cell.
function drawChartsOf(place, key) {
  const charts = dataOf("charts")
    .filter(({ kind, spec }) => kind === place.dataset.chart && Object.values(spec.datasets).flat().some((row) => row.cell === key));
  if (!charts.length) place.remove();
  for (const { spec, title } of charts) {
    const transform = [{ filter: { field: "cell", equal: key } }, ...(spec.transform ?? [])];
    // A curve alone has room for the names of its terms.
    const zoom = place.dataset.chart === "learning_curves" ? 2 : 1;
    const one = { ...spec.spec, width: zoom * spec.spec.width, height: zoom * spec.spec.height };
    place.append(chartPlace({ spec: { ...spec, columns: 1, transform, spec: one } }, title));
  }
}

async function copy(button) {
  await navigator.clipboard.writeText(button.previousElementSibling.textContent);
  button.textContent = "Copied";
  setTimeout(() => { button.textContent = "Copy"; }, 2000);
}
