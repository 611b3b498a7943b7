// Charts by plotly.js, drawn when they come into view, and again when the theme changes.
const drawn = new Map();

function colours() {
  const style = getComputedStyle(document.body);
  return { ink: style.color, paper: style.backgroundColor, line: getComputedStyle(document.querySelector("nav")).borderBottomColor };
}

// On a dark page a loss keeps its hue and becomes lighter; black becomes the colour of the text.
function onDark(colour) {
  const parts = /^#(..)(..)(..)$/.exec(colour);
  if (!parts) return colour;
  const [red, green, blue] = parts.slice(1).map((part) => parseInt(part, 16));
  if (red + green + blue === 0) return colours().ink;
  const light = (0.299 * red + 0.587 * green + 0.114 * blue) / 255;
  const more = Math.max(0, 0.62 - light) * 0.75;
  return `rgb(${[red, green, blue].map((part) => Math.round(part + (255 - part) * more)).join(",")})`;
}

function themed(traces) {
  if (!isDark()) return traces;
  const change = (value, key) => {
    if (key === "color" && typeof value === "string") return onDark(value);
    if (value && typeof value === "object" && !Array.isArray(value)) {
      return Object.fromEntries(Object.entries(value).map(([name, each]) => [name, change(each, name)]));
    }
    return value;
  };
  return traces.map((trace) => (trace.type === "bar" ? trace : change(trace)));
}

function layoutOf(chart, width) {
  const { ink, line } = colours();
  const narrow = width < 480;
  const layout = structuredClone(chart.layout);
  for (const name of Object.keys(layout).filter((key) => /^[xy]axis/.test(key))) {
    layout[name] = { gridcolor: line, zerolinecolor: ink, linecolor: line, automargin: true, fixedrange: true, zeroline: false,
      ...layout[name] };
    if (layout[name].title) layout[name].title = { standoff: 8, ...layout[name].title };
  }
  const across = Object.keys(layout).filter((key) => key.startsWith("xaxis"));
  if (narrow && across.length > 1) {
    // Side by side the titles of the axes, which are alike, would run into each other: one for all.
    const text = layout.xaxis.title.text;
    for (const name of across) delete layout[name].title;
    layout.annotations.push({ text, x: 0.5, y: 0, yshift: -22, xref: "paper", yref: "paper", xanchor: "center", yanchor: "top", showarrow: false });
  }
  return {
    ...layout,
    height: chart.height + (narrow ? 80 : 0),
    margin: { l: 48, r: 8, t: 26, b: 44 },
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    font: { family: getComputedStyle(document.body).fontFamily, size: narrow ? 11 : 12.5, color: ink },
    legend: { orientation: "h", x: 0, xanchor: "left", y: 0, yref: "container", yanchor: "bottom", ...chart.layout.legend },
    hoverlabel: { align: "left" },
    dragmode: false,
  };
}

async function drawChart(element, chart) {
  const Plotly = await library("plotly");
  drawn.set(element, chart);
  await Plotly.react(element, themed(chart.traces), layoutOf(chart, element.clientWidth), { displayModeBar: false, responsive: true });
  element.removeAllListeners?.("plotly_click");
  element.on("plotly_click", (event) => {
    const key = event.points[0]?.customdata;
    if (key) location.hash = cellAddress(key);
  });
}

function redrawCharts() {
  for (const [element, chart] of drawn) {
    if (element.isConnected) drawChart(element, chart);
    else drawn.delete(element);
  }
}

const inView = new IntersectionObserver((entries) => {
  for (const entry of entries.filter((each) => each.isIntersecting)) {
    inView.unobserve(entry.target);
    drawChart(entry.target, waiting.get(entry.target));
  }
}, { rootMargin: "300px" });
const waiting = new WeakMap();

// A place for a chart that is drawn when it is seen.
function chartPlace(chart, label) {
  const element = make("div", { class: "plot", role: "img", "aria-label": label });
  element.style.minHeight = `${chart.height}px`;
  waiting.set(element, chart);
  inView.observe(element);
  return element;
}

function startCharts() {
  const all = dataOf("charts");
  const list = document.getElementById("chart-list");
  const choices = document.getElementById("chart-choices");
  if (!all.length) {
    list.append("These records have nothing to draw.");
    return;
  }
  const chosen = { dataset: all[0].dataset, model: all[0].model };
  const show = () => {
    const of = all.filter((chart) => chart.dataset === chosen.dataset && chart.model === chosen.model);
    list.replaceChildren(
      ...of.map((chart) =>
        make("figure", {},
          make("figcaption", {}, make("strong", {}, chart.title), chart.explained),
          chartPlace(chart, `${chart.title}, ${chart.dataset}`))),
    );
  };
  const chooseModel = () => {
    const models = [...new Set(all.filter((chart) => chart.dataset === chosen.dataset).map((chart) => chart.model))];
    if (!models.includes(chosen.model)) chosen.model = models[0];
    choices.querySelector(".models")?.remove();
    if (models.length > 1) {
      const label = choice("Model", models, (model) => { chosen.model = model; show(); });
      label.classList.add("models");
      label.querySelector("select").value = chosen.model;
      choices.append(label);
    }
    show();
  };
  const datasets = [...new Set(all.map((chart) => chart.dataset))];
  if (datasets.length > 1) choices.append(choice("Dataset", datasets, (dataset) => { chosen.dataset = dataset; chooseModel(); }));
  chooseModel();
}
