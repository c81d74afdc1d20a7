"use strict";
(() => {
  const root = document.documentElement;
  const threads = [...document.querySelectorAll(".thread")];
  const filter = document.getElementById("filter");

  const remembered = (() => {
    try { return localStorage.getItem("perimortem-theme"); } catch { return null; }
  })();
  if (remembered === "light" || remembered === "dark") root.dataset.theme = remembered;

  function changeTheme() {
    const isDark = root.dataset.theme
      ? root.dataset.theme === "dark"
      : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = isDark ? "light" : "dark";
    try { localStorage.setItem("perimortem-theme", root.dataset.theme); } catch { /* kept for now only */ }
  }

  function applyFilter() {
    const wanted = filter.value.trim().toLowerCase();
    for (const thread of threads) thread.hidden = !thread.textContent.toLowerCase().includes(wanted);
  }

  function move(step) {
    const shown = threads.filter((thread) => !thread.hidden);
    if (!shown.length) return;
    const now = shown.indexOf(document.activeElement.closest?.(".thread"));
    const next = now < 0 ? 0 : Math.min(shown.length - 1, Math.max(0, now + step));
    const head = shown[next].querySelector("summary");
    head.focus();
    head.scrollIntoView({ block: "nearest" });
  }

  const actions = {
    "/": () => filter?.focus(),
    j: () => move(1),
    k: () => move(-1),
    t: changeTheme,
    o: () => {
      const thread = document.activeElement.closest?.(".thread");
      if (thread) thread.open = !thread.open;
    },
  };

  document.getElementById("theme").addEventListener("click", changeTheme);
  filter?.addEventListener("input", applyFilter);
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.matches?.("input")) {
      if (event.key === "Escape") { filter.value = ""; applyFilter(); filter.blur(); }
      return;
    }
    const action = actions[event.key];
    if (action) { event.preventDefault(); action(); }
  });
  addEventListener("hashchange", openTarget);
  function openTarget() {
    const target = location.hash.length > 1 && document.getElementById(location.hash.slice(1));
    if (target && target.matches("details")) target.open = true;
  }
  openTarget();
})();
