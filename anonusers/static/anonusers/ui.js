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

  // <button data-reveal="id" hidden>: shows what was typed into a password field, and hides it before it is sent.
  function reveal(button) {
    const input = document.getElementById(button.dataset.reveal);
    const show = (visible) => {
      input.type = visible ? "text" : "password";
      button.setAttribute("aria-pressed", String(visible));
      button.querySelector("[data-show]").hidden = visible;
      button.querySelector("[data-hide]").hidden = !visible;
    };
    button.hidden = false;
    button.addEventListener("click", () => {
      show(input.type === "password");
      input.focus();
    });
    input.form?.addEventListener("submit", () => show(false));
  }

  // <ul data-rules="id"><li data-test="length" data-least="8">: ticks what the password keeps so far.
  const tests = {
    length: (text, rule) => [...text].length >= Number(rule.dataset.least),
    letter: (text) => text !== "" && !/^\d+$/.test(text),
  };
  function checkRules(list) {
    const input = document.getElementById(list.dataset.rules);
    const check = () => {
      for (const rule of list.querySelectorAll("[data-test]")) {
        rule.classList.toggle("is-kept", tests[rule.dataset.test](input.value, rule));
      }
    };
    input.addEventListener("input", check);
    check();
  }

  // <input data-code>: pasted codes may have spaces; six digits are sent at once, the first time.
  function takeCode(input) {
    let sent = false;
    input.addEventListener("input", () => {
      const digits = input.value.normalize("NFKC").replace(/\D/g, "").slice(0, 6);
      if (digits !== input.value) input.value = digits;
      if (digits.length !== 6 || sent) return;
      sent = true;
      input.form.requestSubmit();
    });
  }

  // <button data-wait="seconds">: counts down until it may be used again. The server counts for itself.
  function countDown(button) {
    const until = Date.now() + Number(button.dataset.wait) * 1000;
    const note = button.querySelector("[data-wait-text]");
    const tick = () => {
      const left = Math.ceil((until - Date.now()) / 1000);
      button.disabled = left > 0;
      note.textContent = left > 0 ? note.dataset.waitText.replace("#", left) : "";
      if (left > 0) setTimeout(tick, 250);
    };
    tick();
  }

  document.addEventListener("DOMContentLoaded", () => {
    document.querySelectorAll("[data-reveal]").forEach(reveal);
    document.querySelectorAll("[data-rules]").forEach(checkRules);
    document.querySelectorAll("[data-code]").forEach(takeCode);
    document.querySelectorAll("[data-wait]").forEach(countDown);
    document.querySelectorAll("[data-copy]").forEach(enableCopying);
    document.querySelectorAll("details[data-menu]").forEach(closeLikeAMenu);
    document.querySelectorAll("form[method=post]").forEach(sendOnce);
    document.querySelector("[data-focus-first]")?.focus();
  });
})();
