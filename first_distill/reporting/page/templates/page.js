// Opens a cell over the page; without this file :target shows it.
document.documentElement.classList.add("js");

const find = (hash) => document.querySelector(`dialog[id="${CSS.escape(hash.slice(1))}"]`);
const address = (hash) => history.replaceState(null, "", location.pathname + location.search + hash);

function open(hash) {
  const dialog = hash.startsWith("#cell-") && find(hash);
  if (dialog && !dialog.open) {
    dialog.showModal();
    dialog.scrollTop = 0;
    address(hash);
  }
  return Boolean(dialog);
}

document.addEventListener("click", (event) => {
  const link = event.target.closest("a");
  const dialog = event.target.closest("dialog");
  if (dialog && (event.target === dialog || link?.className === "close")) {
    event.preventDefault();
    dialog.close();
  } else if (link && open(link.getAttribute("href"))) {
    event.preventDefault();
  }
});

for (const dialog of document.querySelectorAll("dialog")) {
  dialog.addEventListener("close", () => {
    address("");
    document.getElementById(`at-${dialog.id}`).focus();
  });
}

addEventListener("hashchange", () => open(location.hash));
open(location.hash);
