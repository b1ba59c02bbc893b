// What every page of ours may use. All of it is a convenience: without it the pages work.
(() => {
  "use strict";

  // <button data-copy="text" hidden>: shown when there is something that can copy.
  function enableCopying(button) {
    if (!navigator.clipboard) return;
    button.hidden = false;
    button.addEventListener("click", async () => {
      try {
        await navigator.clipboard.writeText(button.dataset.copy);
      } catch {
        return;
      }
      const said = button.querySelector("[data-copied]");
      button.classList.add("is-copied");
      if (said) said.textContent = said.dataset.copied;
      setTimeout(() => {
        button.classList.remove("is-copied");
        if (said) said.textContent = "";
      }, 2000);
    });
  }

  // <details data-menu>: closes like a menu.
  function closeLikeAMenu(menu) {
    document.addEventListener("click", (event) => {
      if (!menu.contains(event.target)) menu.open = false;
    });
    menu.addEventListener("keydown", (event) => {
      if (event.key !== "Escape" || !menu.open) return;
      menu.open = false;
      menu.querySelector("summary").focus();
    });
    menu.addEventListener("focusout", (event) => {
      if (event.relatedTarget && !menu.contains(event.relatedTarget)) menu.open = false;
    });
  }

  // A form is sent once; the button is free again when the visitor comes back to the page.
  function sendOnce(form) {
    form.addEventListener("submit", (event) => {
      if (form.dataset.sending) return event.preventDefault();
      form.dataset.sending = "yes";
      for (const button of form.querySelectorAll("button[type=submit]")) button.setAttribute("aria-busy", "true");
    });
    addEventListener("pageshow", () => {
      delete form.dataset.sending;
      for (const button of form.querySelectorAll("button[type=submit]")) button.removeAttribute("aria-busy");
    });
  }

  document.addEventListener("DOMContentLoaded", () => {
    document.querySelectorAll("[data-copy]").forEach(enableCopying);
    document.querySelectorAll("details[data-menu]").forEach(closeLikeAMenu);
    document.querySelectorAll("form[method=post]").forEach(sendOnce);
    document.querySelector("[data-focus-first]")?.focus();
  });
})();
