// Opens the cell that the address names over the page; without this file :target shows it.
document.documentElement.classList.add("js");

function named() {
  const link = [...document.querySelectorAll("a.open")].find((one) => one.hash === location.hash);
  return link && document.getElementById(link.id.replace("at-", ""));
}

function show() {
  const cell = named();
  for (const other of document.querySelectorAll("dialog[open]")) {
    if (other !== cell) other.close();
  }
  if (cell && !cell.open) {
    cell.showModal();
    cell.scrollTop = 0;
  }
}

let pressed = null; // a text that is selected beyond the edge of a cell does not close it
document.addEventListener("pointerdown", (event) => { pressed = event.target; });
document.addEventListener("click", (event) => {
  const link = event.target.closest("a");
  const dialog = event.target.closest("dialog");
  const outside = event.target === dialog && pressed === dialog;
  if (dialog && (outside || link?.className === "close")) {
    event.preventDefault();
    dialog.close();
  } else if (link?.className === "open" && !(event.ctrlKey || event.metaKey || event.shiftKey)) {
    event.preventDefault();
    history.pushState({ opened: true }, "", link.hash);
    show();
  }
});

for (const dialog of document.querySelectorAll("dialog")) {
  dialog.addEventListener("close", () => {
    document.getElementById(`at-${dialog.id}`).focus();
    if (named() !== dialog) return;
    // Back to where it was opened from; one that came by its address has no such place.
    if (history.state?.opened) history.back();
    else history.replaceState(null, "", location.pathname + location.search);
  });
}

addEventListener("popstate", show);
addEventListener("hashchange", show);
show();
