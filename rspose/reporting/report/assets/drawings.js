// People: a crop with a skeleton drawn over it.
const SIDES = { left: "#0072B2", right: "#E69F00", middle: "#F0F0F0" };
const SVG = "http://www.w3.org/2000/svg";
const FAINTEST = 0.15;

function svg(tag, attributes) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
}

// `points` are x, y and opacity from 0 to 1 of each keypoint; 0 is not drawn.
function skeletonOver(crop, skeleton, points, label) {
  const [width, height] = crop.size;
  const drawing = svg("svg", { viewBox: `-0.5 -0.5 ${width} ${height}`, role: "img", "aria-label": label });
  drawing.append(svg("image", { href: crop.image, x: -0.5, y: -0.5, width, height }));
  const at = (k) => points.slice(3 * k, 3 * k + 3);
  const unit = height / 128;
  const lines = [];
  for (const [a, b] of skeleton.limbs) {
    const [xa, ya, ca] = at(a);
    const [xb, yb, cb] = at(b);
    const opacity = Math.min(ca, cb);
    if (!(opacity > 0)) continue;
    const ends = new Set([skeleton.sides[a], skeleton.sides[b]].filter((side) => side !== "middle"));
    const side = ends.size === 1 ? [...ends][0] : "middle";
    const thick = (Math.max(a, b) < skeleton.body ? 1.8 : 0.6) * unit;
    lines.push({ x1: xa, y1: ya, x2: xb, y2: yb, side, opacity, thick });
  }
  // A dark rim keeps limbs apart from clothes of their colour.
  for (const { side, opacity, thick, ...ends } of lines) {
    drawing.append(svg("line", { ...ends, stroke: "#000", "stroke-opacity": 0.6 * opacity, "stroke-width": 1.65 * thick }));
  }
  for (const { side, opacity, thick, ...ends } of lines) {
    drawing.append(svg("line", { ...ends, stroke: SIDES[side], "stroke-opacity": opacity, "stroke-width": thick }));
  }
  skeleton.sides.forEach((side, k) => {
    const [x, y, opacity] = at(k);
    if (!(opacity > 0)) return;
    const ofBody = k < skeleton.body;
    const r = (ofBody ? 1.7 : 0.55) * unit;
    const dot = svg("circle", { cx: x, cy: y, r, fill: SIDES[side], "fill-opacity": opacity, stroke: "#000",
      "stroke-opacity": 0.8 * opacity, "stroke-width": (ofBody ? 0.4 : 0.12) * unit });
    const name = svg("title", {});
    name.textContent = skeleton.names[k];
    dot.append(name);
    drawing.append(dot);
  });
  return drawing;
}

function truthOf(crop, skeleton) {
  const points = crop.truth.map((value, index) => (index % 3 === 2 ? Number(value > 0) : value));
  return skeletonOver(crop, skeleton, points, `truth, ${crop.name}`);
}

function predictionOf(crop, skeleton, points, who) {
  const shown = points.map((value, index) =>
    index % 3 === 2 ? FAINTEST + (1 - FAINTEST) * Math.min(Math.max(value, 0), 1) : value);
  return skeletonOver(crop, skeleton, shown, `prediction of ${who}, ${crop.name}`);
}

// One person as every loss sees it.
function startPredictions() {
  const { cells, crops, skeletons } = dataOf("drawings");
  const details = dataOf("cells");
  const notes = document.getElementById("prediction-notes");
  const groups = new Map(); // the people of a dataset, with the cells that drew them
  for (const [key, cell] of Object.entries(cells)) {
    const [dataset, model, head] = key.split("/");
    const name = [...details[key].place].join(", ");
    const group = groups.get(name) ?? { dataset, cells: [] };
    group.cells.push([key, cell]);
    groups.set(name, group);
  }
  if (!groups.size) {
    notes.textContent = "No prediction files were at hand: they lie beside the folder of records, in cells/.";
    return;
  }
  notes.textContent = "Blue: the person's own left; orange: right. The fainter, the lower the confidence. " +
    "First people of the validation split, first seed of each loss.";
  const names = [...groups.keys()];
  const chosen = { group: names[0], person: 0 };
  const list = document.getElementById("prediction-list");
  const choices = document.getElementById("prediction-choices");
  const show = () => {
    const { dataset, cells: shown } = groups.get(chosen.group);
    const first = crops[shown[0][1].people[chosen.person].crop];
    list.replaceChildren(make("figure", { class: "person" }, truthOf(first, skeletons[dataset]), make("figcaption", {}, "Truth")));
    for (const [key, cell] of shown) {
      const person = cell.people[chosen.person];
      const title = details[key].title;
      list.append(
        make("figure", { class: "person" },
          predictionOf(crops[person.crop], skeletons[dataset], person.points, title),
          make("figcaption", {}, make("a", { href: cellAddress(key) }, title))));
    }
  };
  const choosePerson = () => {
    const count = Math.min(...groups.get(chosen.group).cells.map(([, cell]) => cell.people.length));
    choices.querySelector(".persons")?.remove();
    chosen.person = 0;
    const label = choice("Person", Array.from({ length: count }, (_, index) => String(index + 1)),
      (value) => { chosen.person = Number(value) - 1; show(); });
    label.classList.add("persons");
    choices.append(label);
    show();
  };
  choices.append(choice("Shown", names, (name) => { chosen.group = name; choosePerson(); }));
  choosePerson();
}
