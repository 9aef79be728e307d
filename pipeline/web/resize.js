// Lays pictures into the network's input as tflite/image.py does: each axis that shrinks to half or less is averaged in
// blocks of floor(factor) pixels, then bilinear with half-pixel centres, clamped at the edges, rounded down. By the rule
// mediapipe nothing is averaged, and pixel i is sampled at i times the factor, to 1/32 pixel, rounded half up.

const clamp = (value, most) => Math.min(Math.max(value, 0), most);

function roundHalfEven(value) {
  const rounded = Math.round(value);
  return Math.abs(value % 1) === 0.5 && rounded % 2 ? rounded - 1 : rounded;
}

/** How a picture of width x height lies in an input of toWidth x toHeight. */
export function fitTo(width, height, toWidth, toHeight, rule) {
  let [innerWidth, innerHeight, padX, padY] = [toWidth, toHeight, 0, 0];
  if (rule === "letterbox") {
    const scale = Math.min(toHeight / height, toWidth / width);
    innerWidth = Math.min(Math.max(roundHalfEven(width * scale), 1), toWidth);
    innerHeight = Math.min(Math.max(roundHalfEven(height * scale), 1), toHeight);
    padX = Math.floor((toWidth - innerWidth) / 2);
    padY = Math.floor((toHeight - innerHeight) / 2);
  }
  return { width, height, innerWidth, innerHeight, padX, padY };
}

/** A box x1, y1, x2, y2 in pixels of the input -> pixels of the picture, clipped to it. */
export function boxToPicture(box, fit) {
  const [scaleX, scaleY] = [fit.innerWidth / fit.width, fit.innerHeight / fit.height];
  return [
    clamp((box[0] - fit.padX) / scaleX, fit.width),
    clamp((box[1] - fit.padY) / scaleY, fit.height),
    clamp((box[2] - fit.padX) / scaleX, fit.width),
    clamp((box[3] - fit.padY) / scaleY, fit.height),
  ];
}

/** ImageData of a picture -> ImageData of toWidth x toHeight and its fit. */
export function resize(picture, toWidth, toHeight, rule, fill) {
  const fit = fitTo(picture.width, picture.height, toWidth, toHeight, rule);
  const asMediaPipe = rule === "mediapipe";
  const stepX = asMediaPipe ? 1 : Math.max(Math.floor(picture.width / fit.innerWidth), 1);
  const stepY = asMediaPipe ? 1 : Math.max(Math.floor(picture.height / fit.innerHeight), 1);
  const source = stepX > 1 || stepY > 1 ? average(picture, stepX, stepY) : picture;
  // Whole numbers of 1/32 pixel: sums of such weights are exact.
  const inSteps = (size, length) => (i) => roundHalfEven((32 * length * i) / size) / 32;
  const centred = (size, length, step) => (i) => (i + 0.5) * (1 / (size / length) / step) - 0.5;
  const position = asMediaPipe ? inSteps : centred;
  const columns = taps(fit.innerWidth, source.width, position(fit.innerWidth, picture.width, stepX));
  const rows = taps(fit.innerHeight, source.height, position(fit.innerHeight, picture.height, stepY));
  const half = asMediaPipe ? 0.5 : 0;
  const result = new ImageData(toWidth, toHeight);
  const [from, to] = [source.data, result.data];
  to.fill(fill);
  for (let i = 3; i < to.length; i += 4) to[i] = 255;
  for (let y = 0; y < fit.innerHeight; y++) {
    const [upper, lower] = [rows.first[y] * source.width, rows.second[y] * source.width];
    let at = 4 * ((y + fit.padY) * toWidth + fit.padX);
    for (let x = 0; x < fit.innerWidth; x++, at += 4) {
      const [left, right, across] = [columns.first[x], columns.second[x], columns.weight[x]];
      for (let channel = 0; channel < 3; channel++) {
        const mix = (row) => {
          const a = from[4 * (row + left) + channel];
          return a + (from[4 * (row + right) + channel] - a) * across;
        };
        const above = mix(upper);
        to[at + channel] = Math.floor(above + (mix(lower) - above) * rows.weight[y] + half);
      }
    }
  }
  return { pixels: result, fit };
}

function average(picture, stepX, stepY) {
  const width = Math.ceil(picture.width / stepX);
  const height = Math.ceil(picture.height / stepY);
  const result = new ImageData(width, height);
  const [from, to] = [picture.data, result.data];
  for (let y = 0, at = 0; y < height; y++) {
    const bottom = Math.min((y + 1) * stepY, picture.height);
    for (let x = 0; x < width; x++, at += 4) {
      const right = Math.min((x + 1) * stepX, picture.width);
      let [red, green, blue] = [0, 0, 0];
      for (let row = y * stepY; row < bottom; row++) {
        for (let i = 4 * (row * picture.width + x * stepX); i < 4 * (row * picture.width + right); i += 4) {
          red += from[i];
          green += from[i + 1];
          blue += from[i + 2];
        }
      }
      const count = (right - x * stepX) * (bottom - y * stepY);
      const half = Math.floor(count / 2);
      // Pillow's division: by a factor rounded to float32 and down, in units of 1 / 2^24.
      const factor = Math.floor(Math.fround(2 ** 32 / (256 * count)));
      const mean = (sum) => Math.floor(((sum + half) * factor) / 2 ** 24);
      to[at] = mean(red);
      to[at + 1] = mean(green);
      to[at + 2] = mean(blue);
      to[at + 3] = 255;
    }
  }
  return result;
}

/** For each output position the two input positions that `position` of it lies between, and how far to the second. */
function taps(size, length, position) {
  const made = { first: new Int32Array(size), second: new Int32Array(size), weight: new Float64Array(size) };
  for (let i = 0; i < size; i++) {
    const at = position(i);
    const below = Math.floor(at);
    made.first[i] = clamp(below, length - 1);
    made.second[i] = clamp(below + 1, length - 1);
    made.weight[i] = at - below;
  }
  return made;
}
