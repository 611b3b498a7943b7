// Light, dark, or as the system: a button that cycles, remembered where the browser lets a file remember.
const THEMES = { "": "as the system", light: "light", dark: "dark" };

function startTheme() {
  const button = document.getElementById("theme");
  const root = document.documentElement;
  const show = (theme) => {
    if (theme) root.dataset.theme = theme;
    else delete root.dataset.theme;
    button.querySelector("span").textContent = THEMES[theme];
  };
  let theme = "";
  try {
    const kept = localStorage.getItem("rspose-theme") ?? "";
    theme = kept in THEMES ? kept : "";
  } catch { /* a browser that keeps nothing for files */ }
  show(theme);
  button.hidden = false;
  button.addEventListener("click", () => {
    const names = Object.keys(THEMES);
    theme = names[(names.indexOf(theme) + 1) % names.length];
    show(theme);
    try { localStorage.setItem("rspose-theme", theme); } catch { /* as above */ }
  });
}
