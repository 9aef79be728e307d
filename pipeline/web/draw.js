// Boxes and labels on a picture, as pipeline/show/draw.py colours them.

const GOLDEN = 0.6180339887;

/** Red, green and blue, 0..255, of class number `index`: always the same, neighbours far apart on the colour wheel. */
export function colour(index) {
  const hue = (((index * GOLDEN + 0.02) % 1) + 1) % 1;
  const saturation = [0.9, 0.65][Math.floor(index / 12) % 2];
  return [5, 3, 1].map((shift) => {
    const place = (shift + 6 * hue) % 6;
    return Math.round(255 * (1 - saturation * Math.max(0, Math.min(place, 4 - place, 1))));
  });
}

/** Black or white, whichever is better read on a colour: the ratio of their luminances (WCAG) is 4.5 or more. */
export function inkOn(rgb) {
  const [red, green, blue] = rgb.map((value) => {
    const share = value / 255;
    return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.179 ? "#000" : "#fff";
}

/**
 * Paint a picture and its boxes.
 *
 * context: of the canvas, in whose units are width, height, and the sizes of letters and lines.
 * picture: anything that can be drawn; it fills width x height.
 * scale: from pixels of the boxes to those units.
 * visible: detections, the best first; `labels` are all class names, by number.
 */
export function paint(context, picture, { width, height, scale, letters, line }, visible, labels) {
  context.drawImage(picture, 0, 0, width, height);
  context.lineWidth = line;
  context.font = `${letters}px system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif`;
  context.textBaseline = "middle";
  const shade = ({ label }) => colour(Math.max(0, labels.indexOf(label)));
  const css = (rgb) => `rgb(${rgb.join(", ")})`;
  // The best last, on top of the others.
  for (const each of [...visible].reverse()) {
    const [left, top, right, bottom] = each.box.map((edge) => edge * scale);
    context.strokeStyle = css(shade(each));
    context.strokeRect(left, top, right - left, bottom - top);
  }
  const lineHeight = Math.round(1.4 * letters);
  const plates = placed(context, visible, scale, [width, height], lineHeight, line);
  for (const { each, text, x, y, across } of plates.reverse()) {
    const rgb = shade(each);
    context.fillStyle = css(rgb);
    context.fillRect(x, y, across, lineHeight);
    context.fillStyle = inkOn(rgb);
    context.fillText(text, x + 0.3 * letters, y + lineHeight / 2);
  }
}

/** Where the labels go: above their boxes, or as much lower as the better ones leave room, if the picture has that. */
function placed(context, visible, scale, [width, height], lineHeight, line) {
  const plates = [];
  for (const each of visible) {
    const [left, top] = each.box.map((edge) => edge * scale);
    const text = `${each.label} ${Math.round(100 * each.score)}`;
    const across = context.measureText(text).width + 0.4 * lineHeight;
    const x = Math.max(0, Math.min(left - line / 2, width - across));
    // Whole pixels, so that one label higher is exactly that.
    const first = Math.max(0, Math.round(top) - lineHeight);
    let y = first;
    const isTaken = (other) => Math.abs(other.y - y) < lineHeight && x < other.x + other.across && other.x < x + across;
    for (let other; (other = plates.find(isTaken)); ) y = other.y + lineHeight;
    if (y + lineHeight > height) y = first;
    plates.push({ each, text, x, y, across });
  }
  return plates;
}
