"use strict";
// Without this script the page shows the same: all players, and tables as they are.
document.documentElement.classList.add("js");

// Players: one clip of an utterance is shown, and another goes on from the same place.
for (const player of document.querySelectorAll(".player")) {
  const choices = [...player.querySelectorAll("input")];
  const clips = [...player.querySelectorAll(".clip")];
  const sounds = clips.map((clip) => clip.querySelector("audio"));
  let now = 0;
  const show = (next) => {
    const playing = !sounds[now].paused, place = sounds[now].currentTime;
    sounds[now].pause();
    clips.forEach((clip, number) => { clip.hidden = number !== next; });
    now = next;
    sounds[now].currentTime = place;
    if (playing) sounds[now].play();
  };
  choices.forEach((choice, number) => {
    choice.addEventListener("change", () => show(number));
    choice.addEventListener("keydown", (event) => {
      if (event.key !== " ") return;
      event.preventDefault();
      if (sounds[now].paused) sounds[now].play(); else sounds[now].pause();
    });
  });
  sounds.forEach((sound, number) => {
    const picture = clips[number].querySelector(".seen"), line = picture.querySelector("i");
    const draw = () => {
      line.style.left = `${100 * sound.currentTime / (sound.duration || 1)}%`;
      if (!sound.paused) requestAnimationFrame(draw);
    };
    ["play", "seeked", "timeupdate"].forEach((name) => sound.addEventListener(name, draw));
    picture.addEventListener("click", (event) => {
      sound.currentTime = event.offsetX / picture.clientWidth * sound.duration;
    });
  });
  show(0);
}
document.addEventListener("play", (event) => {
  for (const sound of document.querySelectorAll("audio")) if (sound !== event.target) sound.pause();
}, true);

// Tables of all utterances: sorted, searched, and saved as what they show.
const text = (cell) => cell.dataset.text ?? cell.textContent;
for (const box of document.querySelectorAll(".all")) {
  const body = box.querySelector("tbody"), rows = [...body.rows];
  const heads = [...box.querySelectorAll("th")], count = box.querySelector("output");
  heads.forEach((head, column) => head.querySelector("button").addEventListener("click", () => {
    const down = head.getAttribute("aria-sort") === "ascending";
    heads.forEach((other) => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    const numbers = !head.classList.contains("text");
    const key = (row) => numbers ? parseFloat(text(row.cells[column])) : text(row.cells[column]);
    const order = (a, b) => numbers ? (isNaN(b) - isNaN(a)) || a - b : a.localeCompare(b);
    rows.sort((a, b) => (down ? -1 : 1) * (order(key(a), key(b)) || 0));
    body.append(...rows);
  }));
  const search = box.querySelector("input");
  const found = () => rows.filter((row) => !row.hidden);
  const tell = () => { count.value = `${found().length} of ${rows.length} rows`; };
  search.addEventListener("input", () => {
    const words = search.value.toLowerCase().split(/\s+/);
    for (const row of rows) {
      const own = [...row.cells].map(text).join(" ").toLowerCase();
      row.hidden = !words.every((word) => own.includes(word));
    }
    tell();
  });
  box.querySelector(".save").addEventListener("click", () => {
    const lines = [heads, ...found().map((row) => [...row.cells])];
    // A spreadsheet would compute a text that begins like a formula.
    const safe = (value) => isNaN(value) ? value.replace(/^[=+\-@]/, "'$&") : value;
    const quoted = (cell) => `"${safe(text(cell).trim()).replaceAll('"', '""')}"`;
    const csv = lines.map((cells) => cells.map(quoted).join(",")).join("\r\n") + "\r\n";
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([csv], { type: "text/csv" }));
    link.download = "utterances.csv";
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  });
  tell();
}

// A link to an utterance unfolds it.
const unfold = () => {
  const found = location.hash && document.getElementById(location.hash.slice(1));
  if (!found || found.tagName !== "DETAILS") return;
  found.open = true;
  found.querySelector("summary").focus();
  found.scrollIntoView();
};
addEventListener("hashchange", unfold);
unfold();
