"use strict";
// The page of tlcli serve: it sends images to /predict one by one, and shows what comes back.
const $ = (id) => document.getElementById(id);
const RETRIES = 20;
const state = { about: null, token: sessionStorage.getItem("token") || "", results: [], shown: null, stream: null, number: 0 };

class Refused extends Error {
  constructor(code, status) { super(code); this.code = code; this.status = status; }
}

async function ask(path, options = {}) {
  const headers = { ...(options.headers || {}) };
  if (state.token) headers.Authorization = `Bearer ${state.token}`;
  for (let attempt = 0; ; attempt++) {
    const answer = await fetch(path, { ...options, headers });
    if (answer.status === 503 && attempt < RETRIES) {  // busy: it says when to come again
      await new Promise((done) => setTimeout(done, 1000 * (Number(answer.headers.get("retry-after")) || 1)));
      continue;
    }
    const found = await answer.json().catch(() => null);
    if (Array.isArray(found)) return found;
    if (!answer.ok) throw new Refused(found?.error?.code || `HTTP ${answer.status}`, answer.status);
    return found;
  }
}

// What a person can do about a refusal; the others have only their code.
const SENTENCES = {
  "serve.body_too_large": "The file is too large for this server.",
  "serve.too_many_images": "These are too many images for one request.",
  "serve.queue_full": "The server is busy. Try again later.",
  "serve.memory_full": "The server is busy. Try again later.",
  "serve.too_many_connections": "The server is busy. Try again later.",
  "serve.decoder_died": "The server could not decode the image. Try again later.",
  "serve.deadline": "The server took too long. Try again later.",
  "serve.body_too_slow": "The upload took too long.",
  "serve.head_too_slow": "The upload took too long.",
  "page.unreachable": "The server cannot be reached.",
};

const codeOf = (error) => (error instanceof Refused ? error.code : "page.unreachable");

function sentence(code) {
  return SENTENCES[code] ? `${SENTENCES[code]} (${code})` : `The server refused: ${code}`;
}

function say(text, isError = false) {
  $("status").textContent = text;
  $("status").className = isError ? "error" : "";
}

function failed(error) {
  if (error.status === 401) {
    $("token-form").hidden = false;
    $("token").focus();
    say(state.token ? "The server does not accept this token." : "This server needs a token.", true);
    return;
  }
  say(sentence(codeOf(error)), true);
}

async function begin() {
  try {
    state.about = await ask("/about");
  } catch (error) {
    failed(error);
    return;
  }
  $("token-form").hidden = true;
  say("");
  const models = state.about.models;
  $("model").replaceChildren(...models.map((one, number) => new Option(`${one.name} ${one.version}`, String(number))));
  $("model-row").hidden = models.length < 2;
  describe();
  $("camera").hidden = !(navigator.mediaDevices && navigator.mediaDevices.getUserMedia);
}

const model = () => state.about.models[Number($("model").value) || 0];

function describe() {
  const { name, version, labels } = model();
  const shown = labels.length > 12 ? `${labels.slice(0, 12).join(", ")}, ... (${labels.length})` : labels.join(", ");
  $("about").textContent = `Model ${name}, ${version}. Classes: ${shown}.`;
}

async function classify(files) {
  const images = [...files];
  await state.ready;  // an image may come before the model is known
  if (!state.about) return;  // it is said why
  const first = state.number;
  state.number += images.length;
  const waiting = images.entries();
  let done = 0;
  let unreadable = 0;
  let refused = 0;
  say(`Classifying ${images.length} ${images.length === 1 ? "image" : "images"} ...`);
  const work = async () => {
    for (const [place, file] of waiting) {
      const result = await one(file, images.length === 1, first + place);
      if (result.isRefused) refused += 1; else if (result.record.error_code) unreadable += 1; else done += 1;
      const failures = (unreadable ? `, ${unreadable} cannot be read` : "") + (refused ? `, ${refused} refused` : "");
      if (images.length > 1) say(`${done} of ${images.length} images classified${failures}.`);
    }
  };
  try {
    await Promise.all([work(), work(), work()]);
  } catch (error) {
    failed(error);
  }
  $("table").hidden = state.results.length < 2;
  const last = state.results.find((result) => result.number === first);
  if (images.length === 1) { if (last) await show(last); } else $("table-title").scrollIntoView();
}

async function one(file, explain, number) {
  const used = model();
  let record;
  let isRefused = false;
  try {
    record = await predict(file, used, explain);
  } catch (error) {  // of this image only: the others have answers
    if (error.status === 401) throw error;
    isRefused = true;
    record = { error_code: codeOf(error), label: null, answer: null, best_guess: null, probability: null, distance: null, top: [], model: used.name, version: used.version };
  }
  const result = { file, name: file.name || "pasted image", model: used, record, isExplained: explain, isRefused, number };
  state.results.push(result);
  state.results.sort((a, b) => a.number - b.number);
  addRow(result);
  return result;
}

async function predict(file, used, explain) {
  // A server that refuses a body may close the connection while it is sent: the browser would not see the answer.
  if (file.size > state.about.limits.bytes) throw new Refused("serve.body_too_large", 413);
  const query = new URLSearchParams({ top: "5", model: `${used.name}/${used.version}` });
  if (explain) query.set("explain", "true");
  const [record] = await ask(`/predict?${query}`, { method: "POST", body: file, headers: { "Content-Type": "application/octet-stream" } });
  return record;
}

function text({ record, isRefused }) {
  if (isRefused) return sentence(record.error_code);
  if (record.error_code) return "cannot be read";
  return record.label === null ? `${record.answer} (${record.best_guess}?)` : record.answer;
}

const percent = (value) => (value === null ? "" : `${(100 * value).toFixed(1)} %`);

function addRow(result) {
  const row = document.createElement("tr");
  const name = document.createElement("th");
  name.scope = "row";
  const open = document.createElement("a");
  open.href = "#answer";
  open.textContent = result.name;
  open.addEventListener("click", (event) => { event.preventDefault(); show(result); });
  name.append(open);
  const cells = [text(result), percent(result.record.probability), result.record.distance?.toFixed(3) ?? ""];
  row.append(name, ...cells.map((value, number) => {
    const cell = document.createElement("td");
    cell.textContent = value;
    if (number) cell.className = "number";
    return cell;
  }));
  row.number = result.number;
  const rows = [...$("rows").rows];
  $("rows").insertBefore(row, rows.find((other) => other.number > row.number) || null);
}

async function show(result) {
  if (!result.isExplained && !result.record.error_code) {
    say("Explaining ...");
    try {
      result.record = await predict(result.file, result.model, true);
      result.isExplained = true;
    } catch (error) {
      failed(error);
      return;
    }
  }
  state.shown = result;
  const record = result.record;
  $("answer-title").textContent = result.isRefused ? "This image has no answer" : record.error_code ? "This image cannot be read" : text(result);
  $("answer-note").textContent = result.isRefused ? sentence(record.error_code) : note(record, result.model);
  if ($("image").src) URL.revokeObjectURL($("image").src);
  $("image").src = URL.createObjectURL(result.file);
  $("image").alt = result.name;
  $("image-name").textContent = result.name;
  $("heat").hidden = !record.heat_map;
  $("heat-map").src = record.heat_map || "";
  $("heat-map").alt = `Heat map: what speaks for ${record.best_guess}`;
  $("heat-note").textContent = `Orange speaks for ${record.best_guess}, blue against it.`;
  $("probabilities").tBodies[0].replaceChildren(...record.top.map(bar));
  $("nearest").replaceChildren(...(record.nearest || []).map(near));
  $("wrong").hidden = !state.about.corrections || Boolean(record.error_code);
  $("label").replaceChildren(...result.model.labels.filter((label) => label !== record.label).map((label) => new Option(label)));
  $("answer").hidden = false;
  say($("answer-title").textContent);
  $("answer").focus();
}

function note(record, used) {
  if (record.error_code) return record.error_code;
  if (record.answer === "none of these" && record.label === null) return "The image is unlike all training images, so that probabilities mean nothing.";
  if (record.label === null) return `The most probable class is ${record.best_guess}, and its probability is low.`;
  return `Probability ${percent(record.probability)}. Model ${used.name}.`;
}

function bar(one) {
  const row = document.createElement("tr");
  const name = document.createElement("th");
  name.scope = "row";
  name.textContent = one.label;
  const share = document.createElement("td");
  const meter = document.createElement("meter");
  meter.max = 1;
  meter.value = one.probability;
  meter.setAttribute("aria-hidden", "true");
  share.append(meter);
  const value = document.createElement("td");
  value.className = "number";
  value.textContent = percent(one.probability);
  row.append(name, share, value);
  return row;
}

function near(one) {
  const item = document.createElement("li");
  if (one.thumbnail) {
    const image = document.createElement("img");
    image.src = one.thumbnail;
    image.alt = "";
    item.append(image);
  }
  const label = document.createElement("b");
  label.textContent = one.label;
  item.append(label, `${one.path} (similarity ${one.similarity.toFixed(3)})`);
  return item;
}

function cell(value) {
  let written = value === null || value === undefined ? "" : String(value);
  if (/^[=+\-@\t\r]/.test(written) && Number.isNaN(Number(written))) written = `'${written}`;  // spreadsheets would run it
  return /[",\n\r]/.test(written) ? `"${written.replaceAll('"', '""')}"` : written;
}

function table() {
  const rows = [["path", "label", "answer", "best_guess", "probability", "distance", "error", "model", "version"]];
  for (const { name, record } of state.results) {
    rows.push([name, record.label, record.answer, record.best_guess, record.probability, record.distance, record.error_code, record.model, record.version]);
  }
  return rows.map((row) => row.map(cell).join(",")).join("\r\n") + "\r\n";
}

function download() {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([table()], { type: "text/csv" }));
  link.download = "predictions.csv";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

async function correct(event) {
  event.preventDefault();
  const { file, model: used } = state.shown;
  const label = $("label").value;
  try {
    const query = new URLSearchParams({ label, model: `${used.name}/${used.version}` });
    await ask(`/corrections?${query}`, { method: "POST", body: file, headers: { "Content-Type": "application/octet-stream" } });
    say(`Stored as ${label}.`);
  } catch (error) {
    failed(error);
  }
}

function stopCamera() {
  state.stream?.getTracks().forEach((track) => track.stop());
  state.stream = null;
}

async function openCamera() {
  stopCamera();
  try {
    const opened = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
    stopCamera();  // of a press meanwhile
    state.stream = opened;
  } catch {
    say("The camera cannot be used.", true);
    return;
  }
  $("video").srcObject = state.stream;
  $("viewfinder").hidden = false;
  $("shoot").focus();
}

function closeCamera() {
  stopCamera();
  $("viewfinder").hidden = true;
  $("camera").focus();
}

function shoot() {
  const video = $("video");
  const canvas = document.createElement("canvas");
  canvas.width = video.videoWidth;
  canvas.height = video.videoHeight;
  canvas.getContext("2d").drawImage(video, 0, 0);
  canvas.toBlob((blob) => classify([new File([blob], "photo.jpg", { type: "image/jpeg" })]), "image/jpeg", 0.95);
}

function clear() {
  state.results = [];
  $("rows").replaceChildren();
  $("table").hidden = $("answer").hidden = true;
  say("");
  $("files").focus();
}

for (const id of ["files", "photo"]) {
  $(id).addEventListener("change", (event) => {
    const files = [...event.target.files];
    event.target.value = "";  // the same file may be chosen again
    if (files.length) classify(files);
  });
}
document.addEventListener("dragover", (event) => { event.preventDefault(); document.body.classList.add("over"); });
document.addEventListener("dragleave", (event) => { if (!event.relatedTarget) document.body.classList.remove("over"); });
document.addEventListener("drop", (event) => {
  event.preventDefault();
  document.body.classList.remove("over");
  if (event.dataTransfer.files.length) classify(event.dataTransfer.files);
});
document.addEventListener("paste", (event) => {
  const files = [...(event.clipboardData?.files || [])];
  if (files.length) { event.preventDefault(); classify(files); }
});
$("token-form").addEventListener("submit", (event) => {
  event.preventDefault();
  state.token = $("token").value.trim();
  sessionStorage.setItem("token", state.token);
  state.ready = begin();
});
$("model").addEventListener("change", describe);
$("wrong").addEventListener("submit", correct);
$("csv").addEventListener("click", download);
$("clear").addEventListener("click", clear);
$("camera").addEventListener("click", openCamera);
$("close-camera").addEventListener("click", closeCamera);
$("shoot").addEventListener("click", shoot);
state.ready = begin();
