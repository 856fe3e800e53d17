"use strict";

// Without this script everything is there; it opens, closes and searches.
for (const button of document.querySelectorAll("button[data-open], button[data-close]")) {
  const opens = "open" in button.dataset;
  const folder = document.getElementById(opens ? button.dataset.open : button.dataset.close);
  button.addEventListener("click", () => {
    for (const each of folder.querySelectorAll("details")) each.open = opens;
  });
}

// What a link leads to is shown, with all that it lies in.
function reveal() {
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (!target) return;
  for (let each = target; each; each = each.parentElement) {
    if (each.tagName === "DETAILS") each.open = true;
  }
  const own = target.querySelector(":scope > details");
  if (own) own.open = true;
  target.scrollIntoView();
}
addEventListener("hashchange", reveal);
reveal();

const search = document.getElementById("search");
if (search) {
  const found = document.getElementById("found");
  const events = [...document.querySelectorAll("#events > li")].map((item) => ({
    item,
    text: item.textContent.toLowerCase(),
  }));
  search.addEventListener("input", () => {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const { item, text } of events) {
      item.hidden = !words.every((word) => text.includes(word));
      if (!item.hidden) shown += 1;
    }
    found.textContent = `${shown} of ${events.length} events`;
  });
}

// On paper everything is open.
addEventListener("beforeprint", () => {
  for (const each of document.querySelectorAll("details")) each.open = true;
});
