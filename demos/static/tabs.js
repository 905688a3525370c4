// Tabs, as the ARIA Authoring Practices describe them: one panel is visible, its tab is the only tab stop of
// the list, and arrow keys move between the tabs.

import { el } from "./dom.js";

let lists = 0;

/**
 * Fill `list` with a tab for each `[label, panel]`, and show the first panel.  `onShow(panel)` is called when
 * another panel becomes visible.  Returns `open(id)`, which shows the panel that has this id, or that contains
 * the element with it, and says whether there is one.
 */
export function showTabs(list, panels, onShow = () => {}) {
  const prefix = `tabs-${++lists}`;
  const tabs = panels.map(([label, panel], n) => tab(label, panel, `${prefix}-${n + 1}`));
  list.setAttribute("role", "tablist");
  list.append(...tabs);

  function select(index) {
    for (const [n, [, panel]] of panels.entries()) {
      panel.hidden = n !== index;
      tabs[n].setAttribute("aria-selected", n === index);
      tabs[n].tabIndex = n === index ? 0 : -1;
    }
    onShow(panels[index][1]);
  }

  list.addEventListener("click", ({ target }) => {
    if (tabs.includes(target)) select(tabs.indexOf(target));
  });
  list.addEventListener("keydown", (press) => {
    const current = tabs.indexOf(press.target);
    const last = tabs.length - 1;
    const next = {
      ArrowLeft: current === 0 ? last : current - 1,
      ArrowRight: current === last ? 0 : current + 1,
      Home: 0,
      End: last,
    }[press.key];
    if (next === undefined) return;
    press.preventDefault();
    select(next);
    tabs[next].focus();
  });
  select(0);

  return (id) => {
    const index = panels.findIndex(([, panel]) => panel.id === id || panel.querySelector(`#${CSS.escape(id)}`));
    if (index >= 0) select(index);
    return index >= 0;
  };
}

function tab(label, panel, id) {
  panel.id ||= `${id}-panel`;
  panel.setAttribute("role", "tabpanel");
  panel.setAttribute("aria-labelledby", id);
  const button = el("button", { type: "button", id }, label);
  button.setAttribute("role", "tab");
  button.setAttribute("aria-controls", panel.id);
  return button;
}
