// The page: a photograph or the camera -> the network's input -> MediaPipe Tasks' ObjectDetector -> boxes.

import { FilesetResolver, ObjectDetector } from "/vision/vision_bundle.mjs";
import { checkCoding } from "/coding.js";
import { boxToPicture, resize } from "/resize.js";

// What a browser decodes it may still not have the memory to work on at full size.
const MOST_PIXELS = 12e6;
// MediaPipe rounds boxes down to whole pixels of what it is handed: the input enlarged so many times, each pixel as it
// is, gives finer ones, and the same pixels to the network.
const ENLARGED = 2;
// A small picture is shown enlarged, so that boxes and labels find room.
const MOST_ENLARGED = 3;
const COLOURS = ["#ffb000", "#3ddbd9", "#ff7eb6", "#6fdc8c", "#be95ff", "#ff832b", "#78a9ff", "#fa4d56"];

const element = (id) => document.getElementById(id);
const [view, stage, status, found, threshold] = ["view", "stage", "status", "found", "threshold"].map(element);
const inputs = ["file", "camera", "threshold"].map(element);
const [scratch, small, enlarged] = [0, 1, 2].map(() =>
  document.createElement("canvas").getContext("2d", { willReadFrequently: true }),
);
let contract, detector, shown, camera;

function say(text, isError = false) {
  status.textContent = text;
  status.className = isError ? "error" : "";
}

async function start() {
  contract = await (await fetch("/contract.json")).json();
  checkCoding(contract);
  element("model").textContent = `${contract.name}: ${contract.arch}, ${contract.variant}; finds ${contract.labels.join(", ")}`;
  threshold.value = contract.nms.score_threshold;
  showThreshold();
  const fileset = await FilesetResolver.forVisionTasks("/vision/wasm");
  detector = await ObjectDetector.createFromOptions(fileset, {
    baseOptions: { modelAssetPath: "/model.tflite", delegate: "CPU" },
    runningMode: "IMAGE",
    scoreThreshold: contract.nms.lowest_score,
    maxResults: -1,
  });
  // The first frame also prepares the runtime, which would be counted to the user's picture.
  detect(small.canvas, 64, 64);
  for (const input of inputs) input.disabled = false;
  say("Choose a photograph, drop one on the page, or use the camera.");
  document.body.dataset.ready = "yes";
}

/**
 * Objects in anything that can be drawn, of width x height pixels, worked on at `scale` of that.
 * Boxes are in its pixels; ms is for resizing, the network and suppression.
 */
function detect(drawable, width, height, scale = 1) {
  const [across, down] = [width, height].map((side) => Math.max(1, Math.round(side * scale)));
  scratch.canvas.width = across;
  scratch.canvas.height = down;
  scratch.drawImage(drawable, 0, 0, across, down);
  const begin = performance.now();
  const [, toHeight, toWidth] = contract.input.shape;
  const picture = scratch.getImageData(0, 0, across, down);
  const { pixels, fit } = resize(picture, toWidth, toHeight, contract.input.resize, contract.input.fill);
  small.canvas.width = toWidth;
  small.canvas.height = toHeight;
  small.putImageData(pixels, 0, 0);
  enlarged.canvas.width = ENLARGED * toWidth;
  enlarged.canvas.height = ENLARGED * toHeight;
  enlarged.imageSmoothingEnabled = false;
  enlarged.drawImage(small.canvas, 0, 0, ENLARGED * toWidth, ENLARGED * toHeight);
  // Objects of several classes in the same box come as one detection with several categories.
  const detections = detector.detect(enlarged.canvas).detections.flatMap(({ boundingBox, categories }) => {
    const inWorked = boxToPicture(unrounded(boundingBox).map((edge) => edge / ENLARGED), fit);
    const box = inWorked.map((edge, i) => edge * (i % 2 ? height / down : width / across));
    return categories.map(({ categoryName: label, score }) => ({ label, score, box }));
  });
  detections.sort((one, other) => other.score - one.score);
  return { width, height, ms: performance.now() - begin, detections };
}

/** x1, y1, x2, y2 of a box whose origin and size were rounded down: the middle of what they can have been. */
function unrounded({ originX, originY, width, height }) {
  const [left, top] = [originX + 0.5, originY + 0.5];
  return [left, top, left + width + 0.5, top + height + 0.5];
}

function draw(drawable, result) {
  shown = { drawable, result };
  const least = Number(threshold.value);
  const visible = result.detections.filter((each) => each.score > least);
  stage.className = "";
  drawPicture(drawable, result, visible);
  found.replaceChildren(
    ...visible.map(({ label, score, box }) => {
      const item = document.createElement("li");
      item.textContent = `${label} ${score.toFixed(2)} at ${box.map(Math.round).join(", ")}`;
      return item;
    }),
  );
  found.dataset.result = JSON.stringify(result);
  const objects = `${visible.length} object${visible.length === 1 ? "" : "s"}`;
  say(`${objects} in ${result.width} x ${result.height} pixels, ${result.ms.toFixed(0)} ms a frame`);
}

function drawPicture(drawable, { width, height }, visible) {
  // In CSS pixels, so that lines and letters have one size whatever the picture has.
  const scale = Math.min(stage.clientWidth / width, (0.75 * innerHeight) / height, MOST_ENLARGED);
  const [shownWidth, shownHeight] = [width, height].map((side) => Math.max(1, side * scale));
  view.style.width = `${shownWidth}px`;
  view.style.height = `${shownHeight}px`;
  view.width = Math.round(shownWidth * devicePixelRatio);
  view.height = Math.round(shownHeight * devicePixelRatio);
  const context = view.getContext("2d");
  context.scale(view.width / shownWidth, view.height / shownHeight);
  context.drawImage(drawable, 0, 0, shownWidth, shownHeight);
  context.lineWidth = 2;
  context.font = `${shownWidth < 500 ? 11 : 13}px system-ui, sans-serif`;
  context.textBaseline = "middle";
  const lineHeight = shownWidth < 500 ? 14 : 18;
  const colour = ({ label }) => COLOURS[Math.max(0, contract.labels.indexOf(label)) % COLOURS.length];
  // The best last, on top of the others.
  for (const each of [...visible].reverse()) {
    const [left, top, right, bottom] = each.box.map((edge) => edge * scale);
    context.strokeStyle = colour(each);
    context.strokeRect(left, top, right - left, bottom - top);
  }
  for (const { each, text, x, y, width } of placed(context, visible, scale, shownWidth, lineHeight)) {
    context.fillStyle = colour(each);
    context.fillRect(x, y, width, lineHeight);
    context.fillStyle = "#000";
    context.fillText(text, x + 3, y + lineHeight / 2);
  }
}

/** Where the labels go: above their boxes, or as much lower as the better ones leave room. */
function placed(context, visible, scale, shownWidth, lineHeight) {
  const labels = [];
  for (const each of visible) {
    const [left, top] = each.box.map((edge) => edge * scale);
    const text = `${each.label} ${each.score.toFixed(2)}`;
    const width = context.measureText(text).width + 6;
    const x = Math.max(0, Math.min(left - 1, shownWidth - width));
    // Whole pixels, so that one label higher is exactly that.
    let y = Math.max(0, Math.round(top) - lineHeight);
    const isTaken = (other) =>
      Math.abs(other.y - y) < lineHeight && x < other.x + other.width && other.x < x + width;
    for (let other; (other = labels.find(isTaken)); ) y = other.y + lineHeight;
    labels.push({ each, text, x, y, width });
  }
  return labels;
}

async function showFile(file) {
  if (!detector) return;
  stopCamera();
  delete found.dataset.result;
  say(`Reading ${file.name}`);
  let bitmap;
  try {
    bitmap = await createImageBitmap(file, { imageOrientation: "from-image" });
  } catch {
    say(`${file.name}: not a picture this browser can read, or one too large for it`, true);
    return;
  }
  try {
    const { width, height } = bitmap;
    const scale = Math.min(1, Math.sqrt(MOST_PIXELS / (width * height)));
    if (scale < 1) {
      const [resizeWidth, resizeHeight] = [width, height].map((side) => Math.max(1, Math.round(side * scale)));
      const whole = bitmap;
      bitmap = await createImageBitmap(whole, { resizeWidth, resizeHeight, resizeQuality: "medium" });
      whole.close();
    }
    draw(bitmap, detect(bitmap, width, height, scale));
  } catch (error) {
    say(`${file.name}: ${error.message}`, true);
  }
}

async function useCamera() {
  if (camera) {
    stopCamera();
    say("Camera off.");
    return;
  }
  if (!navigator.mediaDevices) {
    say("The browser gives the camera to pages of this computer or by HTTPS only: open http://localhost", true);
    return;
  }
  const video = element("video");
  try {
    camera = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
    video.srcObject = camera;
    await video.play();
  } catch (error) {
    stopCamera();
    const reasons = { NotFoundError: "there is none", NotAllowedError: "it was not allowed", NotReadableError: "another program has it" };
    say(`No camera: ${reasons[error.name] ?? error.message}. Photographs still work.`, true);
    return;
  }
  element("camera").textContent = "Stop the camera";
  const frame = () => {
    if (!camera) return;
    try {
      if (video.videoWidth) draw(video, detect(video, video.videoWidth, video.videoHeight));
    } catch (error) {
      stopCamera();
      say(`Camera: ${error.message}`, true);
    }
    requestAnimationFrame(frame);
  };
  frame();
}

function stopCamera() {
  camera?.getTracks().forEach((track) => track.stop());
  camera = undefined;
  element("camera").textContent = "Use the camera";
}

function showThreshold() {
  element("least").textContent = Number(threshold.value).toFixed(2);
}

function drawAgain() {
  if (shown) draw(shown.drawable, shown.result);
}

element("file").addEventListener("change", (event) => {
  const [file] = event.target.files;
  if (file) showFile(file);
  // The same file can be chosen again.
  event.target.value = "";
});
element("camera").addEventListener("click", useCamera);
threshold.addEventListener("input", () => {
  showThreshold();
  drawAgain();
});
addEventListener("resize", drawAgain);
addEventListener("dragover", (event) => event.preventDefault());
addEventListener("drop", (event) => {
  event.preventDefault();
  const [file] = event.dataTransfer.files;
  if (file) showFile(file);
  else say("That was not a file: drop a photograph.", true);
});
start().catch((error) => say(`The model cannot be started: ${error.message ?? error}`, true));
