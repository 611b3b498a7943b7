// One person as every loss sees it, taken from the panels of the cells.
async function startPredictions() {
  const list = document.getElementById("prediction-list");
  const choices = document.getElementById("prediction-choices");
  if (!list) return;
  const groups = new Map(); // the cells of a dataset, model and head that drew people
  for (const cell of (await cellPanels()).querySelectorAll("article:has(.person)")) {
    const { place } = cell.dataset;
    groups.set(place, [...(groups.get(place) ?? []), cell]);
  }
  const figure = (drawing, caption) => make("figure", { class: "person" }, document.importNode(drawing, true), make("figcaption", {}, caption));
  const show = (cells, person) => {
    const pairs = cells.map((cell) => [...cell.querySelectorAll(".pair")[person].children]);
    list.replaceChildren(figure(pairs[0][0], "Truth"), ...pairs.map(([, prediction], index) => {
      const { id, dataset } = cells[index];
      return figure(prediction, make("a", { href: cellAddress(id.slice("cell/".length)) }, dataset.title));
    }));
  };
  const chooseGroup = (place) => {
    const cells = groups.get(place);
    const count = Math.min(...cells.map((cell) => cell.querySelectorAll(".pair").length));
    const persons = Array.from({ length: count }, (_, index) => String(index + 1));
    choices.replaceChildren(choices.firstChild, choice("Person", persons, (number) => show(cells, number - 1)));
    show(cells, 0);
  };
  choices.append(choice("Shown", [...groups.keys()], chooseGroup));
  chooseGroup(choices.querySelector("select").value);
}
