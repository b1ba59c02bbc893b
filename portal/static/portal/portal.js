// The portal's conveniences: the save bar, what depends on a switch, durations in words. The server checks everything.
(() => {
  "use strict";

  const root = document.documentElement;
  root.classList.add("js");

  // The twin of portal/durations.py: exact, days are the largest unit. The browser knows the language's plurals.
  function inWords(seconds) {
    const parts = [
      [Math.floor(seconds / 86400), "day"],
      [Math.floor(seconds / 3600) % 24, "hour"],
      [Math.floor(seconds / 60) % 60, "minute"],
      [seconds % 60, "second"],
    ].filter(([count, unit]) => count || (unit === "second" && !seconds));
    return parts
      .map(([count, unit]) =>
        new Intl.NumberFormat(root.lang, { style: "unit", unit, unitDisplay: "long", useGrouping: false }).format(count),
      )
      .join(" ");
  }

  function secondsIn(input) {
    const text = input?.value.trim() ?? "";
    return /^[0-9]{1,15}$/.test(text) ? Number(text) : null;
  }

  function goodSecondsIn(input) {
    const seconds = secondsIn(input);
    return seconds >= Number(input?.dataset.min) && seconds <= Number(input?.dataset.max) ? seconds : null;
  }

  function showWords(form) {
    for (const words of form.querySelectorAll("[data-words-of]")) {
      const seconds = secondsIn(document.getElementById(words.dataset.wordsOf));
      words.textContent = seconds === null ? "" : inWords(seconds);
    }
    for (const sentence of form.querySelectorAll("[data-sentence]")) showSentence(form, sentence);
    for (const box of form.querySelectorAll("[data-outcome]")) showOutcome(box);
    showLimits(form);
  }

  function showSentence(form, sentence) {
    const { lifetime: lifetimeId, idle: idleId, idleEnabled, withIdling, withoutIdling } = sentence.dataset;
    const lifetime = goodSecondsIn(document.getElementById(lifetimeId));
    const idles = document.getElementById(idleEnabled).checked;
    const idle = goodSecondsIn(document.getElementById(idleId));
    const text = sentence.querySelector("[data-sentence-text]");
    // While an entry is no good there is nothing to say; the last sentence stays.
    if (lifetime !== null && (!idles || idle !== null)) {
      const pattern = idles && idle < lifetime ? withIdling : withoutIdling;
      const words = pattern.replace("{lifetime}", inWords(lifetime)).replace("{idle}", inWords(idle ?? 0));
      if (text.textContent !== words) text.textContent = words;
    }
    for (const part of sentence.querySelectorAll("[data-shown-if-closing]")) {
      part.hidden = form.elements[part.dataset.shownIfClosing].value !== "False";
    }
  }

  function inDays(days) {
    return new Intl.NumberFormat(root.lang, { style: "unit", unit: "day", unitDisplay: "long", useGrouping: false }).format(
      days,
    );
  }

  // What happens to guests; while an entry is no good the last sentence stays.
  function showOutcome(box) {
    const { inactive: inactiveId, quarantine: quarantineId, never, atOnce, later } = box.dataset;
    const inactive = goodSecondsIn(document.getElementById(inactiveId));
    const quarantine = goodSecondsIn(document.getElementById(quarantineId));
    if (inactive === null || quarantine === null) return;
    const pattern = !inactive ? never : quarantine ? later : atOnce;
    const words = pattern.replace("{inactive}", inDays(inactive)).replace("{quarantine}", inDays(quarantine));
    const text = box.querySelector("[data-outcome-text]");
    if (text.textContent !== words) text.textContent = words;
  }

  // The twin of limit_in_words() in portal/retention.py.
  function limitInWords(text, fallback, patterns) {
    if (!text) {
      const words = limitInWords(fallback, "off", patterns);
      return patterns.empty.replace("{default}", words.charAt(0).toLowerCase() + words.slice(1));
    }
    if (text === "off") return patterns.off;
    const [, amount, unit] = /^([0-9]{1,15})\/([smhd])$/.exec(text) ?? [];
    return Number(amount) ? patterns[unit].replace("{n}", new Intl.NumberFormat(root.lang).format(amount)) : "";
  }

  function showLimits(form) {
    const patterns = form.querySelector("[data-limit-patterns]")?.dataset;
    for (const words of patterns ? form.querySelectorAll("[data-limit-of]") : []) {
      const text = document.getElementById(words.dataset.limitOf).value.trim();
      words.textContent = limitInWords(text, words.dataset.default, patterns);
    }
  }

  function followSwitches(form) {
    for (const row of form.querySelectorAll("[data-depends-on]")) {
      const off = !document.getElementById(row.dataset.dependsOn).checked;
      row.classList.toggle("is-off", off);
      for (const control of row.querySelectorAll("input, select, textarea")) control.disabled = off;
    }
  }

  // Against what the server rendered, not against what was there when this ran: browsers restore typed values.
  function differs(control) {
    if (control.type === "hidden" || control.disabled) return false;
    if (control.type === "checkbox" || control.type === "radio") return control.checked !== control.defaultChecked;
    if (control.options) return [...control.options].some((option) => option.selected !== option.defaultSelected);
    return "defaultValue" in control && control.value !== control.defaultValue;
  }

  function watch(form) {
    const refused = form.hasAttribute("data-changed"); // rendered with entries that were not saved
    const status = form.querySelector("[data-save-status]");
    let leaving = false;

    function update() {
      followSwitches(form);
      showWords(form);
      const changed = refused || [...form.elements].some(differs);
      if (changed === form.hasAttribute("data-changed") && status.textContent) return;
      form.toggleAttribute("data-changed", changed);
      status.textContent = changed ? status.dataset.text : "";
    }

    form.addEventListener("input", update);
    form.addEventListener("change", update);
    form.addEventListener("submit", () => (leaving = true));
    for (const link of document.querySelectorAll("[data-discard]")) {
      link.addEventListener("click", () => (leaving = true));
    }
    addEventListener("beforeunload", (event) => {
      if (!leaving && form.hasAttribute("data-changed")) event.preventDefault();
    });
    addEventListener("pageshow", () => {
      leaving = false;
      update();
    });
    update();
  }

  // --- Users: a list whose rows are chosen -------------------------------------------------------------------------

  // <form data-selection>: its bar says how many are chosen, and is away while nobody is.
  function countChosen(form) {
    const boxes = [...form.querySelectorAll("[name=sub]")];
    const all = form.querySelector("[data-pick-all]");
    const everybody = form.querySelector("[data-everybody]");
    const words = form.querySelector("[data-picked]");
    if (!all || !words) return;
    all.hidden = false;
    const box = all.querySelector("input");
    const update = () => {
      const number = boxes.filter((one) => one.checked).length;
      box.checked = number === boxes.length;
      box.indeterminate = number > 0 && number < boxes.length;
      form.toggleAttribute("data-chosen", number > 0 || everybody.checked);
      const text = number === 1 ? words.dataset.one : words.dataset.many.replace("#", number);
      if (words.textContent !== text) words.textContent = text;
    };
    box.addEventListener("change", () => {
      for (const one of boxes) one.checked = box.checked;
      if (!box.checked) everybody.checked = false;
      update();
    });
    form.addEventListener("change", update);
    addEventListener("pageshow", update);
    update();
  }

  // --- Jobs: the progress page reads itself again ------------------------------------------------------------------

  function follow(job) {
    const refresh = document.querySelector("[data-refresh]");
    const look = async () => {
      try {
        const response = await fetch(location.href, { headers: { Accept: "text/html" }, redirect: "error" });
        const page = new DOMParser().parseFromString(await response.text(), "text/html");
        // At its end the page says more than numbers: it is shown as a whole.
        if (!response.ok || !page.querySelector("[data-job]")) return location.reload();
        for (const place of job.querySelectorAll("[data-live]")) {
          const now = page.querySelector(`[data-live="${place.dataset.live}"]`);
          if (place.tagName === "PROGRESS") {
            if (now.hasAttribute("value")) place.value = now.value;
          } else if (now && place.textContent !== now.textContent) place.textContent = now.textContent;
        }
      } catch {
        // Offline for a moment: the next look tells.
      }
      setTimeout(look, 1500);
    };
    if (refresh) refresh.hidden = true;
    setTimeout(look, 700);
  }

  function fold(button) {
    const sidebar = button.closest(".sidebar");
    button.hidden = false;
    button.addEventListener("click", () => {
      const open = sidebar.classList.toggle("is-open");
      button.setAttribute("aria-expanded", String(open));
    });
  }

  document.addEventListener("DOMContentLoaded", () => {
    document.querySelectorAll("[data-folds]").forEach(fold);
    document.querySelectorAll("form[data-settings]").forEach(watch);
    document.querySelectorAll("form[data-selection]").forEach(countChosen);
    document.querySelectorAll("[data-job]").forEach(follow);
  });
})();

// --- Sentences that follow switches; deeds that take several rounds ---
(() => {
  "use strict";

  // data-shown-if="a !b": while the control with the id a is on and b is off; what is disabled is off.
  function follow(form) {
    const isOn = (control) => control.checked && !control.disabled;
    for (const part of form.querySelectorAll("[data-shown-if]")) {
      const conditions = part.dataset.shownIf.split(" ");
      part.hidden = !conditions.every((id) =>
        id.startsWith("!") ? !isOn(document.getElementById(id.slice(1))) : isOn(document.getElementById(id)),
      );
    }
  }

  document.addEventListener("DOMContentLoaded", () => {
    for (const part of document.querySelectorAll("[data-shown-if]")) {
      const form = part.closest("form");
      if (form.dataset.follows) continue;
      form.dataset.follows = "yes";
      form.addEventListener("change", () => follow(form));
      addEventListener("pageshow", () => follow(form));
    }
    const goesOn = document.querySelector("form[data-goes-on]");
    if (goesOn) setTimeout(() => goesOn.requestSubmit(), 1000); // time to read, and to stop
  });
})();
