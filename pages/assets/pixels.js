/* global make */
// From the pictures in the page to pixels on a canvas.

/** The bytes of base64 text. */
const bytesOf = (base64) => {
  const text = atob(base64);
  const bytes = new Uint8Array(text.length);
  for (let at = 0; at < text.length; at += 1) bytes[at] = text.charCodeAt(at);
  return bytes;
};

/** The picture of a `data:` link. Its grey values stay what the file says. */
const decode = (link) => {
  const blob = new Blob([bytesOf(link.slice(link.indexOf(",") + 1))], { type: "image/png" });
  return createImageBitmap(blob, { colorSpaceConversion: "none" });
};

// One slice at a time: a whole sheet can be more than some browsers allow for a canvas.
const scratch = make("canvas").getContext("2d", { willReadFrequently: true });

/** One slice of a decoded sheet as grey values, row by row. */
const tile = (picture, sheet, index) => {
  const { width, height } = sheet;
  Object.assign(scratch.canvas, { width, height });
  const left = (index % sheet.columns) * width;
  const top = Math.floor(index / sheet.columns) * height;
  scratch.drawImage(picture, left, top, width, height, 0, 0, width, height);
  const { data } = scratch.getImageData(0, 0, width, height);
  const out = new Uint8Array(width * height);
  for (let at = 0; at < out.length; at += 1) out[at] = data[4 * at];
  return out;
};

/** Where the picture of a canvas lies in the window: it keeps its shape and may leave bars at its sides. */
const shownAt = (canvas) => {
  const box = canvas.getBoundingClientRect();
  const scale = Math.min(box.width / canvas.width, box.height / canvas.height);
  const [width, height] = [canvas.width * scale, canvas.height * scale];
  return { left: box.left + (box.width - width) / 2, top: box.top + (box.height - height) / 2, width, height };
};

/** Draws grey values through a table of 256 colours, 4 bytes each. */
const paint = (canvas, grey, sheet, table) => {
  if (canvas.width !== sheet.width || canvas.height !== sheet.height) {
    canvas.width = sheet.width;
    canvas.height = sheet.height;
  }
  const image = new ImageData(sheet.width, sheet.height);
  const colours = new Uint32Array(table.buffer);
  const out = new Uint32Array(image.data.buffer);
  for (let at = 0; at < out.length; at += 1) out[at] = colours[grey[at]];
  canvas.getContext("2d").putImageData(image, 0, 0);
};

/** A window of grey values, centred at `level`. */
const greyTable = (width, level) => {
  const table = new Uint8ClampedArray(1024);
  const low = level - width / 2;
  for (let value = 0; value < 256; value += 1) {
    const grey = ((value - low) / width) * 255;
    table.set([grey, grey, grey, 255], value * 4);
  }
  return table;
};

/**
 * Colours whose lightness grows evenly, so that equal steps of the number look equal, also in grey and to the colour-blind:
 * a path through OKLab from dark violet over teal to light yellow (Ottosson's matrices of 2020).
 */
const colourTable = () => {
  const table = new Uint8ClampedArray(1024);
  const gamma = (linear) => 255 * (linear <= 0.0031308 ? 12.92 * linear : 1.055 * linear ** (1 / 2.4) - 0.055);
  for (let value = 0; value < 256; value += 1) {
    const share = value / 255;
    const lightness = 0.2 + 0.74 * share;
    const hue = ((305 - 200 * share) * Math.PI) / 180;
    const chroma = 0.1 - 0.02 * Math.sin(Math.PI * share);
    const a = chroma * Math.cos(hue);
    const b = chroma * Math.sin(hue);
    const long = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3;
    const middle = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3;
    const short = (lightness - 0.0894841775 * a - 1.291485548 * b) ** 3;
    const red = 4.0767416621 * long - 3.3077115913 * middle + 0.2309699292 * short;
    const green = -1.2684380046 * long + 2.6097574011 * middle - 0.3413193965 * short;
    const blue = -0.0041960863 * long - 0.7034186147 * middle + 1.707614701 * short;
    table.set([red, green, blue].map((part) => gamma(Math.max(0, part))).concat(255), value * 4);
  }
  return table;
};
