// What the model's outputs are, by name: a page that does not know it would show nonsense.

const KNOWN = ["detections/1"];

/** The coding of a contract; files made before contracts had one are in today's. Throws for one not known here. */
export function checkCoding({ coding = KNOWN[0] }) {
  if (!KNOWN.includes(coding)) {
    throw new Error(`coding: unknown, got ${JSON.stringify(coding)}; allowed: ${KNOWN.join(", ")}; update micro-yolo`);
  }
  return coding;
}
