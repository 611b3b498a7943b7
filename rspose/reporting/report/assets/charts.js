// Charts by Vega-Lite, drawn when they come into view.

// As many panels beside each other as there is room for, and as wide as they may be.
async function drawChart(element, chart) {
  const embed = await library("vega");
  const room = element.clientWidth;
  const spec = structuredClone(chart.spec);
  const columns = Math.max(1, Math.min(spec.columns, Math.floor(room / Math.min(240, 0.85 * spec.spec.width + 30))));
  const config = structuredClone(chart.looks ?? dataOf("looks"));
  config.legend.columns = Math.max(2, Math.min(6, Math.floor(room / 125)));
  config.font = getComputedStyle(document.body).fontFamily;
  Object.assign(spec, { columns, config });
  // Labels are as wide as they are: what they leave is known once the chart stands.
  const options = { actions: false, renderer: "svg", ast: true, tooltip: { disableDefaultStyle: true } };
  spec.spec.width = Math.min(spec.spec.width, room / columns - 30);
  let drawn = await embed(element, spec, options);
  const over = element.querySelector("svg").getBBox().width + 10 - room;
  if (over > 0) {
    drawn.finalize();
    spec.spec.width = Math.max(90, spec.spec.width - over / columns);
    drawn = await embed(element, spec, options);
  }
  drawn.view.addEventListener("click", (event, item) => {
    if (item?.datum?.cell) location.hash = cellAddress(item.datum.cell);
  });
}

const waiting = new WeakMap();
const inView = new IntersectionObserver((entries) => {
  for (const entry of entries.filter((each) => each.isIntersecting)) {
    inView.unobserve(entry.target);
    drawChart(entry.target, waiting.get(entry.target));
  }
}, { rootMargin: "300px" });

// A place for a chart that is drawn when it is seen.
function chartPlace(chart, label) {
  const element = make("div", { class: "plot", role: "img", "aria-label": label });
  waiting.set(element, chart);
  inView.observe(element);
  return element;
}

// The charts of one dataset (and model), of which the reader chooses.
function chartList(name, charts) {
  const list = document.getElementById(`${name}-list`);
  const several = new Set(charts.map((chart) => chart.model)).size > 1;
  const placeOf = (chart) => (several ? `${chart.dataset}, ${chart.model}` : chart.dataset);
  const places = [...new Set(charts.map(placeOf))];
  const show = (chosen) => list.replaceChildren(
    ...charts.filter((chart) => placeOf(chart) === chosen).map((chart) =>
      make("figure", chart.spec.columns > 3 ? { class: "wide" } : {},
        make("figcaption", {}, make("strong", {}, chart.title), chart.explained),
        chartPlace(chart, `${chart.title}, ${chosen}`))));
  if (places.length > 1) document.getElementById(`${name}-choices`).append(choice("Shown", places, show));
  if (places.length) show(places[0]);
}

const ANSWERING = new Set(["differences", "lengths"]);

function startCharts() {
  const all = dataOf("charts");
  document.querySelectorAll("[data-localisation]").forEach((place, index) => {
    const chart = dataOf("localisations")[index];
    const element = make("div", { class: "plot", role: "img", "aria-label": chart.title });
    place.append(element);
    drawChart(element, chart); // at once: paper has it too
  });
  chartList("answer", all.filter((chart) => ANSWERING.has(chart.kind)));
  chartList("chart", all.filter((chart) => !ANSWERING.has(chart.kind)));
  if (!all.length) document.getElementById("chart-list").append("These records have nothing to draw.");
}
