// The page: what is looked at (a photograph to begin with, the user's, the camera), with which model, and what is said.

import { Camera } from "/camera.js";
import { colour, paint } from "/draw.js";
import { Finder, scratch } from "/find.js";

// What a browser decodes it may still not have the memory to work on at full size.
const MOST_PIXELS = 12e6;
// A small picture is shown enlarged, so that boxes and labels find room.
const MOST_ENLARGED = 3;
// Times of frames of which the middle one is shown, since single ones jump.
const FRAMES = 21;
// Objects that are listed: a low score can bring hundreds.
const MOST_LISTED = 50;

const element = (id) => document.getElementById(id);
const [view, stage, status, found, threshold, models, save, turn] = [
  "view", "stage", "status", "found", "threshold", "model", "save", "turn",
].map(element);
// What is looked at: its pixels, perhaps made smaller; its size and name; and what was found in it.
const frame = { context: scratch(), width: 0, height: 0, name: "" };
const camera = new Camera(element("video"), lookAtCamera, cameraEnded);
let page, model, finder, result;
let times = [];
// How many pictures were asked for: of several at once the last is shown.
let asked = 0;

function say(text, isError = false) {
  status.textContent = text;
  status.className = isError ? "doubt" : "";
}

async function start() {
  page = await (await fetch("/page.json")).json();
  models.replaceChildren(...page.models.map(({ name }, number) => new Option(name, number)));
  models.value = page.chosen;
  element("switch").hidden = page.models.length < 2;
  element("credit").textContent = page.credit;
  showPhotographs();
  describe(page.models[page.chosen]);
  say(page.photographs.length ? "The browser loads the model" : "Loading the model");
  if (page.photographs.length) await begin();
  finder = await Finder.open(model);
  if (frame.width) look();
  say(frame.width ? told() : "Choose a photograph, drop or paste one, or use the camera.");
  document.body.dataset.ready = performance.now();
}

/** The first photograph with the boxes that the command itself has found in it. */
async function begin() {
  const [first] = page.photographs;
  const bitmap = await createImageBitmap(await (await fetch(first.path)).blob(), { imageOrientation: "from-image" });
  if (asked) return;
  take(bitmap, bitmap.width, bitmap.height, first.name);
  mark(0);
  result = page.found;
  draw();
  say(`${counted()} in ${first.name}, found by the command; the browser is still loading the model.`);
  document.body.dataset.begun = performance.now();
}

function showPhotographs() {
  element("photographs").replaceChildren(
    ...page.photographs.map(({ name, path, small }, number) => {
      const [item, button, image] = ["li", "button", "img"].map((tag) => document.createElement(tag));
      Object.assign(image, { src: small, alt: name });
      Object.assign(button, { type: "button", title: name });
      button.setAttribute("aria-pressed", "false");
      button.append(image);
      button.addEventListener("click", () => showFile(() => fetch(path).then((answer) => answer.blob()), name, number));
      item.append(button);
      return item;
    }),
  );
}

/** Which of the photographs is looked at, -1 for none of them. */
function mark(number) {
  element("photographs").querySelectorAll("button").forEach((button, i) => button.setAttribute("aria-pressed", i === number));
}

function describe(next) {
  model = next;
  const { contract, bytes } = model;
  const [, height, width] = contract.input.shape;
  element("about").textContent = `${contract.arch}, ${contract.variant}, finds ${listed(contract.labels)}`;
  element("size").textContent = `${Math.round(bytes / 1024).toLocaleString("en")} KiB`;
  element("input").textContent = `${contract.variant}, ${width} x ${height} pixels`;
  threshold.value = contract.nms.score_threshold;
  showThreshold();
}

function listed(labels) {
  const most = 12;
  return labels.slice(0, most).join(", ") + (labels.length > most ? ` and ${labels.length - most} more` : "");
}

/** Run another model, on what is looked at; the one before stays if it cannot be run. */
async function change() {
  const next = page.models[models.value];
  models.disabled = true;
  say(`Loading ${next.name}`);
  try {
    const opened = await Finder.open(next);
    finder?.close();
    finder = opened;
    times = [];
    describe(next);
    if (frame.width && !camera.on) look();
    say(frame.width ? told() : `${next.name} is ready.`);
  } catch (error) {
    models.value = page.models.indexOf(model);
    say(`${next.name}: cannot be started: ${error.message ?? error}`, true);
  }
  models.disabled = false;
  models.focus();
}

/** Hold a picture of width x height pixels as what is looked at, worked on at `scale` of that. */
function take(drawable, width, height, name, scale = 1) {
  const { context } = frame;
  [context.canvas.width, context.canvas.height] = [width, height].map((side) => Math.max(1, Math.round(side * scale)));
  context.drawImage(drawable, 0, 0, context.canvas.width, context.canvas.height);
  Object.assign(frame, { width, height, name });
}

/** Find what is in it, and show that. */
function look() {
  result = finder.find(frame.context, frame.width, frame.height);
  times = [...times, result.ms].slice(-FRAMES);
  const middle = [...times].sort((one, other) => one - other)[Math.floor(times.length / 2)];
  element("time").textContent = `${middle.toFixed(middle < 10 ? 1 : 0)} ms`;
  element("rate").textContent = `${(1000 / middle).toFixed(middle > 100 ? 1 : 0)} a second, in this browser`;
  draw();
}

function visible() {
  const least = Number(threshold.value);
  return result.detections.filter((each) => each.score > least);
}

function counted() {
  const count = visible().length;
  return `${count} object${count === 1 ? "" : "s"}`;
}

function told() {
  return `${counted()} in ${frame.name}, ${frame.width} x ${frame.height} pixels`;
}

function draw() {
  if (!result) return;
  const shown = visible();
  stage.className = "";
  // In CSS pixels, so that lines and letters have one size whatever the picture has.
  const { width, height } = frame;
  // Beside the picture, or below it, there is to be room for what can be done.
  const tallest = innerWidth > 860 ? 0.7 : 0.5;
  const scale = Math.min(stage.clientWidth / width, (tallest * innerHeight) / height, MOST_ENLARGED);
  const [across, down] = [width, height].map((side) => Math.max(1, side * scale));
  view.style.width = `${across}px`;
  view.style.height = `${down}px`;
  view.width = Math.round(across * devicePixelRatio);
  view.height = Math.round(down * devicePixelRatio);
  const context = view.getContext("2d");
  context.scale(view.width / across, view.height / down);
  const letters = across < 500 ? 12 : 14;
  paint(context, frame.context.canvas, { width: across, height: down, scale, letters, line: 2 }, shown, model.contract.labels);
  const names = shown.slice(0, MOST_LISTED).map(({ label }) => label);
  view.setAttribute("aria-label", `${frame.name} with ${counted()}${names.length ? `: ${names.join(", ")}` : ""}`);
  list(shown);
  save.disabled = false;
}

function list(shown) {
  const items = shown.slice(0, MOST_LISTED).map(({ label, score, box }) => {
    const [item, key, name, share, where] = ["li", "span", "span", "span", "small"].map((tag) => document.createElement(tag));
    key.className = "key";
    key.style.background = `rgb(${colour(Math.max(0, model.contract.labels.indexOf(label))).join(", ")})`;
    [name.textContent, share.textContent, where.textContent] = [label, score.toFixed(2), `at ${box.map(Math.round).join(", ")}`];
    item.append(key, name, share, where);
    return item;
  });
  if (shown.length > MOST_LISTED) {
    items.push(alone(`and ${shown.length - MOST_LISTED} more`));
  }
  if (!shown.length) {
    const [best] = result.detections;
    const hint = best ? `Nothing above this score; the best has ${best.score.toFixed(2)}.` : "Nothing.";
    items.push(alone(hint));
  }
  found.replaceChildren(...items);
  found.dataset.result = JSON.stringify(result);
  found.dataset.count = shown.length;
}

function alone(text) {
  const [item, line] = ["li", "span"].map((tag) => document.createElement(tag));
  Object.assign(line, { className: "all", textContent: text });
  item.append(line);
  return item;
}

/** Show a picture, whose bytes `read` gives; `number` is its own among the photographs to try. */
async function showFile(read, name, number = -1) {
  const own = ++asked;
  stopCamera();
  mark(number);
  delete found.dataset.result;
  say(`Reading ${name}`);
  let bitmap;
  try {
    bitmap = await createImageBitmap(await read(), { imageOrientation: "from-image" });
  } catch {
    if (own === asked) say(`${name}: not a picture this browser can read, or one too large for it`, true);
    return;
  }
  if (own !== asked) return;
  try {
    const { width, height } = bitmap;
    const scale = Math.min(1, Math.sqrt(MOST_PIXELS / (width * height)));
    if (scale < 1) {
      const [resizeWidth, resizeHeight] = [width, height].map((side) => Math.max(1, Math.round(side * scale)));
      const whole = bitmap;
      bitmap = await createImageBitmap(whole, { resizeWidth, resizeHeight, resizeQuality: "medium" });
      whole.close();
    }
    take(bitmap, width, height, name, scale);
    bitmap.close();
    if (finder) {
      look();
      say(told());
    } else {
      result = undefined;
      say(`${name} waits for the model, which the browser is still loading.`);
    }
  } catch (error) {
    say(`${name}: ${error.message}`, true);
  }
}

async function useCamera() {
  if (camera.on) {
    stopCamera();
    say("Camera off.");
    return;
  }
  if (!finder) {
    say("The browser is still loading the model.");
    return;
  }
  asked++;
  try {
    await camera.start();
    cameraStarted();
  } catch (error) {
    cameraEnded(error.message);
  }
}

async function cameraStarted() {
  mark(-1);
  times = [];
  element("camera").textContent = "Stop the camera";
  say("Camera on.");
  turn.hidden = !(await camera.several());
}

function lookAtCamera(video) {
  take(video, video.videoWidth, video.videoHeight, "the camera");
  look();
}

function cameraEnded(reason) {
  stopCamera();
  say(`No camera: ${reason}. Photographs still work.`, true);
}

function stopCamera() {
  camera.stop();
  turn.hidden = true;
  element("camera").textContent = "Use the camera";
}

/** The picture with its boxes as a PNG, in its own pixels. */
async function savePicture() {
  const { canvas } = frame.context;
  const copy = document.createElement("canvas");
  [copy.width, copy.height] = [canvas.width, canvas.height];
  const side = Math.min(copy.width, copy.height);
  const sizes = { letters: Math.max(11, Math.min(60, Math.round(side / 28))), line: Math.max(2, Math.round(side / 160)) };
  const whole = { width: copy.width, height: copy.height, scale: copy.width / frame.width, ...sizes };
  paint(copy.getContext("2d"), canvas, whole, visible(), model.contract.labels);
  const blob = await new Promise((resolve) => copy.toBlob(resolve, "image/png"));
  if (!blob) {
    say("The picture cannot be saved: it is too large for this browser.", true);
    return;
  }
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = `${frame.name.replace(/\.[^.]*$/, "").replace(/ /g, "-")}-boxes.png`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
  if (!camera.on) say(`Saved ${link.download}.`);
}

function showThreshold() {
  element("least").textContent = Number(threshold.value).toFixed(2);
}

function showFirst(files) {
  const [file] = files;
  if (file) showFile(async () => file, file.name);
  return Boolean(file);
}

element("file").addEventListener("change", (event) => {
  showFirst(event.target.files);
  // The same file can be chosen again.
  event.target.value = "";
});
element("camera").addEventListener("click", useCamera);
turn.addEventListener("click", () => camera.turn().catch((error) => cameraEnded(error.message)));
save.addEventListener("click", savePicture);
models.addEventListener("change", change);
threshold.addEventListener("input", () => {
  showThreshold();
  draw();
});
addEventListener("resize", draw);
addEventListener("dragover", (event) => event.preventDefault());
addEventListener("drop", (event) => {
  event.preventDefault();
  if (!showFirst(event.dataTransfer.files)) say("That was not a file: drop a photograph.", true);
});
addEventListener("paste", (event) => showFirst(event.clipboardData.files));
start().catch((error) => say(`The model cannot be started: ${error.message ?? error}`, true));
