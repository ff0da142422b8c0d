"use strict";

const part = (id) => document.getElementById(id);
const answers = ["keep", "drop", "skip"];
let state = null;
let busy = false;

async function ask(path, body) {
  if (busy) return;
  busy = true;
  try {
    const reply = await fetch(path, body === undefined ? {} : {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(body),
    });
    if (!reply.ok) throw new Error(await reply.text());
    state = await reply.json();
    show();
  } catch (error) {
    const gone = error instanceof TypeError;
    say(gone ? "Thresher does not answer: start thresher label again, it goes on here." : error.message);
  } finally {
    busy = false;
  }
}

function show() {
  const open = state.position !== null;
  part("count").textContent = `${state.answered} of ${state.total} labelled`
    + (state.skipped ? `, ${state.skipped} skipped` : "");
  part("bar").max = Math.max(state.total, 1);
  part("bar").value = state.answered + state.skipped;
  part("pair").hidden = !open;
  for (const name of answers) part(name).disabled = !open;
  part("undo").disabled = !state.can_undo;
  if (open) {
    part("message").hidden = true;
    part("caption").textContent = state.caption;
    part("defect").hidden = true;
    part("picture").hidden = false;
    part("picture").className = "";
    part("picture").alt = `picture ${state.position + 1}`;
    part("picture").src = `picture/${state.position}`;
  } else {
    say("Nothing is left to label. Press Ctrl-C where thresher label runs; it says what comes next.", true);
  }
}

function say(text, done = false) {
  part("message").textContent = text;
  part("message").className = done ? "done" : "";
  part("message").hidden = false;
}

function act(name) {
  if (state === null || part(name).disabled) return;
  if (name === "undo") ask("undo", {});
  else ask("answer", { position: state.position, answer: name });
}

part("picture").addEventListener("load", () => {
  if (part("picture").naturalWidth < 256) part("picture").className = "small";
});
part("picture").addEventListener("error", async () => {
  const reply = await fetch(part("picture").src).catch(() => null);
  part("defect").textContent = `No picture: ${reply ? (await reply.text()).trim() : "no answer"}`;
  part("defect").hidden = false;
  part("picture").hidden = true;
});
for (const button of document.querySelectorAll("button")) {
  button.addEventListener("click", () => act(button.id));
}
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
  const button = document.querySelector(`button[data-key="${CSS.escape(event.key.toLowerCase())}"]`);
  if (button) act(button.id);
});
ask("pair");
