// The reference page's navigation. Without script its links work just as well.
(() => {
  "use strict";

  const links = [...document.querySelectorAll('nav a[href^="#"]')];
  const sections = document.querySelectorAll("main > section[id]");
  const seen = new Set();

  function mark() {
    const current = [...sections].find((section) => seen.has(section));
    if (!current) return;
    for (const link of links) {
      const here = link.hash === `#${current.id}`;
      if (here) link.setAttribute("aria-current", "true");
      else link.removeAttribute("aria-current");
      if (here) keepInView(link);
    }
  }

  function keepInView(link) {
    const box = link.closest(".side");
    if (!box) return;
    const above = link.offsetTop - box.offsetTop < box.scrollTop;
    const below = link.offsetTop - box.offsetTop + link.offsetHeight > box.scrollTop + box.clientHeight;
    if (above || below) box.scrollTop = link.offsetTop - box.offsetTop - box.clientHeight / 2;
  }

  // The section that covers the upper third of the window is where the reader is.
  const observer = new IntersectionObserver(
    (entries) => {
      for (const entry of entries) seen[entry.isIntersecting ? "add" : "delete"](entry.target);
      mark();
    },
    { rootMargin: "-80px 0px -66% 0px" },
  );
  for (const section of sections) observer.observe(section);

  const contents = document.querySelector(".contents");
  contents.addEventListener("click", (event) => {
    if (event.target.closest("a")) contents.open = false;
  });
})();
