// The page for moderators: sends an image, shows the answer, keeps a history in this browser.

const $ = (id) => document.getElementById(id);
const HISTORY = "active-indexing.history";
const KEPT = 30; // answers, with a picture of 10 to 30 kB each
const PREVIEW = 360; // pixels of such a picture

let limits = null;
let history = [];
let shown = null; // the entry on the page
let turn = 0; // answers of earlier questions are not shown over later ones

const WORDS = {
  match: ["Match", "This is most likely a copy of one of ours."],
  unsure: ["Unsure", "It may be a copy of this one. Look at both before you decide."],
  "no match": ["No match", "None of ours is near enough. The nearest one is shown for comparison."],
};
const PARTS = {
  whole: "the whole image", trimmed: "the image without its border", rectangle: "a part of the image",
  turned: "the image turned by a quarter", file: "the file itself, byte for byte",
};

// Talking to the server

async function call(path, options = {}) {
  for (;;) {
    const token = sessionStorage.getItem("token");
    const headers = { ...options.headers, ...(token ? { Authorization: `Bearer ${token}` } : {}) };
    let answer;
    try {
      answer = await fetch(path, { ...options, headers });
    } catch {
      throw new Error("The service does not answer. Is it running?");
    }
    if (answer.ok) return answer;
    const told = await answer.json().catch(() => null);
    const message = told?.error?.message ?? `The service answered with ${answer.status}.`;
    if (answer.status !== 401) throw new Error(message);
    await askForToken(token ? message : "");
  }
}

let asking = null;
function askForToken(message) {
  asking ??= new Promise((resolve) => {
    $("token-error").textContent = message;
    $("token").value = "";
    $("ask-token").addEventListener("close", () => {
      sessionStorage.setItem("token", $("token").value.trim());
      asking = null;
      resolve();
    }, { once: true });
    $("ask-token").showModal();
  });
  return asking;
}
$("ask-token").addEventListener("cancel", (event) => event.preventDefault());

async function loadStatus() {
  try {
    const status = await (await call("v1/status")).json();
    limits = status.limits;
    const rate = `${(100 * status.false_positive_rate).toLocaleString()} % of foreign images may be called a match`;
    $("store").textContent = `${status.images.toLocaleString()} images protected · ${rate}`;
  } catch (error) {
    $("store").textContent = error.message;
  }
}

async function ask(file) {
  const mine = ++turn;
  const name = file.name || "pasted image";
  const url = URL.createObjectURL(file);
  document.body.classList.add("busy");
  show({ name, url, state: "asking" });
  const entry = { name, time: new Date().toISOString() };
  try {
    if (limits && file.size > limits.max_bytes) {
      throw new Error(`The file has ${megabytes(file.size)} MB, and the limit is ${megabytes(limits.max_bytes)} MB. `
        + "Send a smaller copy of the image.");
    }
    if (!file.size) throw new Error("The file is empty.");
    const options = { method: "POST", body: file, headers: { "Content-Type": "application/octet-stream" } };
    entry.answer = await (await call("v1/query", options)).json();
    entry.preview = await preview(url);
    remember(entry);
  } catch (error) {
    entry.error = error.message;
  }
  if (mine === turn) {
    document.body.classList.remove("busy");
    show({ ...entry, url });
  }
}

const megabytes = (bytes) => (bytes / 1e6).toLocaleString(undefined, { maximumFractionDigits: 1 });

async function askAll(files) {
  for (const file of files) await ask(file);
}

// Showing

function show(entry) {
  if (shown?.url && shown.url !== entry.url) URL.revokeObjectURL(shown.url);
  shown = entry;
  const { answer, error, state } = entry;
  const [title, sentence] = error ? ["Not asked", error] : answer ? WORDS[answer.verdict] : ["Asking …", ""];
  $("result").hidden = false;
  $("result").className = error ? "error" : state ?? answer.verdict.replace(" ", "-");
  $("verdict").textContent = title;
  $("sentence").textContent = answer && !answer.best ? "There is nothing in the store to compare with." : sentence;
  $("query-name").textContent = entry.name;
  $("query-note").textContent = "";
  picture($("query"), entry.url ?? entry.preview, "This browser can't show the format.");
  showBox(answer);
  showOriginal(answer);
  showScale(answer);
  showFacts(answer);
  showHistory();
}

function picture(image, source, otherwise = "") {
  image.onerror = () => { image.removeAttribute("src"); $("query-note").textContent = otherwise; };
  if (source) image.src = source;
  else { image.removeAttribute("src"); if (image === $("query")) $("query-note").textContent = otherwise; }
}

function showBox(answer) {
  const box = answer?.box;
  const whole = !box || (box.top <= 0 && box.left <= 0 && box.bottom >= answer.height && box.right >= answer.width);
  $("box").hidden = whole || answer.verdict === "no match";
  if ($("box").hidden) return;
  const style = $("box").style;
  style.left = `${(100 * box.left) / answer.width}%`;
  style.top = `${(100 * box.top) / answer.height}%`;
  style.width = `${(100 * (box.right - box.left)) / answer.width}%`;
  style.height = `${(100 * (box.bottom - box.top)) / answer.height}%`;
}

async function showOriginal(answer) {
  const best = answer?.best;
  $("original-side").hidden = !best;
  picture($("original"), null);
  if (!best) return;
  $("original-title").textContent = answer.verdict === "match" ? "Original" : "Nearest of ours";
  $("original-name").textContent = best.name;
  $("released").textContent = `released ${new Date(best.released_at).toLocaleString(undefined,
    { dateStyle: "medium", timeStyle: "short" })}`;
  try {
    const blob = await (await call(`${best.thumbnail.slice(1)}?edge=1024`)).blob();
    if (shown?.answer !== answer) return;
    const url = URL.createObjectURL(blob);
    $("original").onload = () => URL.revokeObjectURL(url);
    $("original").src = url;
  } catch (error) {
    if (shown?.answer === answer) $("released").textContent = error.message;
  }
}

function showScale(answer) {
  const sigma = answer?.best?.sigma;
  $("scale").hidden = sigma == null || !answer.scale;
  if ($("scale").hidden) return;
  const { unsure, match } = answer.scale;
  const runner = answer.runner_up?.sigma;
  const low = Math.min(-2, sigma, runner ?? 0) - 0.5;
  const high = Math.max(match + 4, sigma + 0.5);
  const place = (value) => `${(100 * (value - low)) / (high - low)}%`;
  const zones = $("scale").querySelectorAll(".zone");
  [unsure - low, match - unsure, high - match].forEach((width, n) => {
    zones[n].style.width = `${(100 * width) / (high - low)}%`;
  });
  $("mark").style.left = place(sigma);
  $("runner-mark").hidden = runner == null;
  if (runner != null) $("runner-mark").style.left = place(runner);
  $("score").textContent = `${sigma.toFixed(1)} standard deviations above the usual best score of a foreign image; `
    + `a match from ${match.toFixed(1)}`;
}

function showFacts(answer) {
  const lines = [];
  if (answer?.best) {
    lines.push(["Seen in", PARTS[answer.view] ?? answer.view]);
    if (answer.runner_up) {
      const sigma = answer.runner_up.sigma;
      lines.push(["Runner-up", `${answer.runner_up.name}${sigma == null ? "" : ` at ${sigma.toFixed(1)}`} (dotted line)`]);
    }
    if (answer.look_alikes.length) {
      lines.push(["Ours as well, and alike", answer.look_alikes.map((each) => each.name).join(", ")]);
    }
    lines.push(["Id", answer.best.id]);
  }
  for (const reason of answer?.reasons ?? []) lines.push(["Note", reason]);
  $("facts").replaceChildren(...lines.map(([name, text]) => {
    const item = document.createElement("li");
    const strong = document.createElement("b");
    strong.textContent = `${name}: `;
    item.append(strong, text);
    return item;
  }));
}

// History

async function preview(url) {
  try {
    const image = new Image();
    image.src = url;
    await image.decode();
    const scale = Math.min(1, PREVIEW / Math.max(image.naturalWidth, image.naturalHeight));
    const canvas = document.createElement("canvas");
    canvas.width = Math.max(1, Math.round(image.naturalWidth * scale));
    canvas.height = Math.max(1, Math.round(image.naturalHeight * scale));
    canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
    return canvas.toDataURL("image/jpeg", 0.8);
  } catch {
    return null;
  }
}

function remember(entry) {
  history = [entry, ...history].slice(0, KEPT);
  while (history.length) {
    try {
      localStorage.setItem(HISTORY, JSON.stringify(history));
      return;
    } catch { // the browser's room for it is full
      history.pop();
    }
  }
}

function showHistory() {
  $("past").hidden = !history.length;
  $("history").replaceChildren(...history.map((entry) => {
    const item = document.createElement("li");
    const button = document.createElement("button");
    const image = document.createElement("img");
    const [verdict, line] = [document.createElement("span"), document.createElement("span")];
    image.alt = "";
    if (entry.preview) image.src = entry.preview;
    verdict.textContent = WORDS[entry.answer.verdict][0];
    line.textContent = `${entry.name} · ${new Date(entry.time).toLocaleTimeString(undefined, { timeStyle: "short" })}`;
    line.className = "soft";
    button.type = "button";
    button.setAttribute("aria-current", String(entry.time === shown?.time));
    button.append(image, verdict, line);
    button.addEventListener("click", () => { turn += 1; show(entry); });
    item.append(button);
    return item;
  }));
}

function step(by) {
  const place = history.findIndex((entry) => entry.time === shown?.time);
  const next = history[place + by];
  if (next) { turn += 1; show(next); }
}

function clear() {
  turn += 1;
  document.body.classList.remove("busy");
  $("result").hidden = true;
  shown = null;
  showHistory();
}

// Hands and keys

$("drop").addEventListener("click", () => $("file").click());
$("file").addEventListener("change", () => { askAll([...$("file").files]); $("file").value = ""; });
$("forget").addEventListener("click", () => { history = []; localStorage.removeItem(HISTORY); clear(); });

addEventListener("dragover", (event) => { event.preventDefault(); document.body.classList.add("over"); });
addEventListener("dragleave", (event) => { if (!event.relatedTarget) document.body.classList.remove("over"); });
addEventListener("drop", (event) => {
  event.preventDefault();
  document.body.classList.remove("over");
  const files = [...event.dataTransfer.files];
  if (files.length) askAll(files);
  else show({ name: "what was dropped", error: "That was no file. Save the image, then drop the file; addresses are not fetched." });
});
addEventListener("paste", (event) => {
  const files = [...event.clipboardData.files];
  if (files.length) askAll(files);
});
addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || $("ask-token").open) return;
  if (event.key === "o") { event.preventDefault(); $("file").click(); }
  if (event.key === "j") step(1);
  if (event.key === "k") step(-1);
  if (event.key === "Escape") clear();
});

try {
  history = JSON.parse(localStorage.getItem(HISTORY)) ?? [];
} catch {
  history = [];
}
showHistory();
loadStatus();
