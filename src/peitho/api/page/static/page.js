// Keeps a page as it is now. Without this all of it is there, as it was when it was loaded.
"use strict";
(() => {
  const PAUSE_MS = 3000;
  const LONGEST_PAUSE_MS = 30000;
  const LOG_CHARACTERS = 200000;
  const COMMAND = /\x1b\[[0-?]*[ -/]*[@-~]/g;
  const CONTROL = /[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]+/g;

  const note = document.querySelector("[data-note]");
  const button = document.querySelector("[data-pause]");
  const log = document.querySelector("[data-log]");
  let decoder = new TextDecoder();
  let isPaused = false;
  let failures = 0;

  function say(text) {
    if (note.textContent !== text) {
      note.textContent = text;
    }
  }

  async function asked(path) {
    // An address that was opened with a name and a password in it has them, and fetch takes none.
    const place = new URL(path, location.origin + location.pathname);
    const response = await fetch(place, { cache: "no-store", credentials: "same-origin" });
    if (!response.ok) {
      throw new Error(`Peitho answered ${response.status}`);
    }
    return response;
  }

  function isSelected(part) {
    const selection = getSelection();
    return selection !== null && !selection.isCollapsed && part.contains(selection.anchorNode);
  }

  // Whoever reads keeps what is opened, where it is scrolled to, and the keyboard's place.
  function replace(part, fresh) {
    const opened = [...part.querySelectorAll("details[open][id]")].map((each) => each.id);
    const scrolled = [...part.querySelectorAll("pre[id]")].map((each) => [each.id, each.scrollTop]);
    const focused = part.contains(document.activeElement) ? document.activeElement.id : "";
    part.replaceChildren(...[...fresh.childNodes].map((each) => document.importNode(each, true)));
    for (const id of opened) {
      document.getElementById(id)?.setAttribute("open", "");
    }
    for (const [id, top] of scrolled) {
      const box = document.getElementById(id);
      if (box) {
        box.scrollTop = top;
      }
    }
    if (focused) {
      document.getElementById(focused)?.focus({ preventScroll: true });
    }
  }

  async function refresh() {
    const response = await asked(location.pathname + location.search);
    const fresh = new DOMParser().parseFromString(await response.text(), "text/html");
    for (const part of document.querySelectorAll("[data-live]")) {
      const other = fresh.getElementById(part.id);
      if (other && other.innerHTML !== part.innerHTML && !isSelected(part)) {
        replace(part, other);
      }
    }
  }

  async function follow() {
    const before = Number(log.dataset.next);
    const response = await asked(`${log.dataset.log}?from=${before}`);
    const from = Number(response.headers.get("Peitho-From"));
    const isAtEnd = log.scrollTop + log.clientHeight >= log.scrollHeight - 8;
    if (from > before) {
      decoder = new TextDecoder();
    }
    const said = decoder.decode(await response.arrayBuffer(), { stream: true });
    const cut = from > before ? "\n[left out]\n" : "";
    const lines = said.replace(/\r\n?/g, "\n").replace(COMMAND, "").replace(CONTROL, " ");
    if (lines || cut) {
      log.textContent = (log.textContent + cut + lines).slice(-LOG_CHARACTERS);
      if (isAtEnd) {
        log.scrollTop = log.scrollHeight;
      }
    }
    log.dataset.next = response.headers.get("Peitho-Next");
    if (response.headers.get("Peitho-Over")) {
      delete log.dataset.log;
    }
  }

  async function look() {
    if (!isPaused && !document.hidden) {
      try {
        if (log?.dataset.log) {
          await follow();
        }
        await refresh();
        failures = 0;
        say("");
      } catch (error) {
        failures += 1;
        say(`Not up to date: ${error.message}`);
      }
    }
    setTimeout(look, Math.min(PAUSE_MS * 2 ** failures, LONGEST_PAUSE_MS));
  }

  button.hidden = false;
  button.addEventListener("click", () => {
    isPaused = !isPaused;
    button.textContent = isPaused ? "Resume updates" : "Pause updates";
    say(isPaused ? "Paused" : "");
  });
  if (log) {
    log.scrollTop = log.scrollHeight;
  }
  setTimeout(look, PAUSE_MS);
})();
