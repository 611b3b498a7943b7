// Data, panels and libraries stand in the page as text; each is unpacked once, when it is first needed.
const parsed = {};

function dataOf(name) {
  parsed[name] ??= JSON.parse(document.getElementById(`data-${name}`).textContent);
  return parsed[name];
}

async function unpack(name) {
  const bytes = Uint8Array.from(atob(document.getElementById(`packed-${name}`).textContent), (c) => c.charCodeAt(0));
  return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).text();
}

const libraries = {};

function library(name) {
  libraries[name] ??= load(name);
  return libraries[name];
}

async function load(name) {
  const address = URL.createObjectURL(new Blob([await unpack(name)], { type: "text/javascript" }));
  try {
    return (await import(address)).default ?? window.vegaEmbed;
  } finally {
    URL.revokeObjectURL(address);
  }
}

// An element with attributes and children; texts become text, never markup.
function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

// A labelled choice; `changed` is called with the value.
function choice(label, options, changed) {
  const select = make("select", {}, ...options.map((text) => make("option", { value: text }, text)));
  select.addEventListener("change", () => changed(select.value));
  return make("label", {}, label, select);
}

const cellAddress = (key) => "#cell/" + key.split("/").map(encodeURIComponent).join("/");
