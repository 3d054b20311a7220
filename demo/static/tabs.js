// Tabs as the ARIA practices have them: arrow keys move, one tab stop for the whole bar. The address remembers which
// one is open, so that a reload comes back to it.

/** opened: what to call when a tab is opened, by its name. */
export function wireTabs(bar, opened) {
  const tabs = [...bar.querySelectorAll('[role="tab"]')];

  const select = (chosen) => {
    for (const tab of tabs) {
      const isChosen = tab === chosen;
      tab.setAttribute("aria-selected", String(isChosen));
      tab.tabIndex = isChosen ? 0 : -1;
      document.getElementById(tab.getAttribute("aria-controls")).hidden = !isChosen;
    }
    opened[chosen.dataset.name]?.();
  };

  const open = (tab) => {
    select(tab);
    history.replaceState(null, "", `#${tab.dataset.name}`);
  };

  bar.addEventListener("click", (event) => {
    const tab = event.target.closest('[role="tab"]');
    if (tab) open(tab);
  });
  bar.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    const next = tabs[(tabs.indexOf(document.activeElement) + step + tabs.length) % tabs.length];
    open(next);
    next.focus();
  });
  const selectByAddress = () => select(tabs.find((tab) => `#${tab.dataset.name}` === location.hash) ?? tabs[0]);
  window.addEventListener("hashchange", selectByAddress);
  selectByAddress();
}
