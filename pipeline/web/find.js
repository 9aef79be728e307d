// Objects in a picture: our resize rule, MediaPipe Tasks' ObjectDetector, boxes back in the picture's pixels.

import { checkCoding } from "/coding.js";
import { boxToPicture, resize } from "/resize.js";

// MediaPipe rounds boxes down to whole pixels of what it is handed: the input enlarged so many times, each pixel as it
// is, gives finer ones, and the same pixels to the network.
const ENLARGED = 2;

let runtime;

/** A context to draw on, whose pixels are read back often. */
export function scratch() {
  return document.createElement("canvas").getContext("2d", { willReadFrequently: true });
}

export class Finder {
  /** The model of an entry of page.json, ready to find: it has run once. Throws for one that cannot be run. */
  static async open({ path, contract }) {
    checkCoding(contract);
    // Not before somebody needs it: the page has something to show until then.
    runtime ??= import("/vision/vision_bundle.mjs").then(async (vision) => ({
      vision,
      fileset: await vision.FilesetResolver.forVisionTasks("/vision/wasm"),
    }));
    const { vision, fileset } = await runtime;
    const detector = await vision.ObjectDetector.createFromOptions(fileset, {
      baseOptions: { modelAssetPath: path, delegate: "CPU" },
      runningMode: "IMAGE",
      scoreThreshold: contract.nms.lowest_score,
      maxResults: -1,
    });
    const finder = new Finder(detector, contract);
    // The first frame also prepares the runtime, which would be counted to the user's picture.
    const blank = scratch();
    [blank.canvas.width, blank.canvas.height] = [64, 64];
    finder.find(blank, 64, 64);
    return finder;
  }

  constructor(detector, contract) {
    this.detector = detector;
    this.contract = contract;
    [this.small, this.enlarged] = [scratch(), scratch()];
  }

  /**
   * Objects on the canvas of a context, which shows a picture of width x height pixels, perhaps made smaller. Boxes are
   * in the picture's pixels; ms is for resizing, the network and suppression.
   */
  find(context, width, height) {
    const begin = performance.now();
    const { small, enlarged, contract } = this;
    const { width: across, height: down } = context.canvas;
    const [, toHeight, toWidth] = contract.input.shape;
    const picture = context.getImageData(0, 0, across, down);
    const { pixels, fit } = resize(picture, toWidth, toHeight, contract.input.resize, contract.input.fill);
    small.canvas.width = toWidth;
    small.canvas.height = toHeight;
    small.putImageData(pixels, 0, 0);
    enlarged.canvas.width = ENLARGED * toWidth;
    enlarged.canvas.height = ENLARGED * toHeight;
    enlarged.imageSmoothingEnabled = false;
    enlarged.drawImage(small.canvas, 0, 0, ENLARGED * toWidth, ENLARGED * toHeight);
    // Objects of several classes in the same box come as one detection with several categories.
    const detections = this.detector.detect(enlarged.canvas).detections.flatMap(({ boundingBox, categories }) => {
      const inWorked = boxToPicture(unrounded(boundingBox).map((edge) => edge / ENLARGED), fit);
      const box = inWorked.map((edge, i) => edge * (i % 2 ? height / down : width / across));
      return categories.map(({ categoryName: label, score }) => ({ label, score, box }));
    });
    detections.sort((one, other) => other.score - one.score);
    return { width, height, ms: performance.now() - begin, detections };
  }

  /** Gives its memory back. */
  close() {
    this.detector.close();
  }
}

/** x1, y1, x2, y2 of a box whose origin and size were rounded down: the middle of what they can have been. */
function unrounded({ originX, originY, width, height }) {
  const [left, top] = [originX + 0.5, originY + 0.5];
  return [left, top, left + width + 0.5, top + height + 0.5];
}
