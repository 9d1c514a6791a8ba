/* global make */
// From the pictures in the page to pixels on a canvas.

/** The bytes of base64 text. */
const bytesOf = (base64) => {
  const text = atob(base64);
  const bytes = new Uint8Array(text.length);
  for (let at = 0; at < text.length; at += 1) bytes[at] = text.charCodeAt(at);
  return bytes;
};

/** Pixels of a picture given as a `data:` link: red, green, blue and opacity. Colours stay what the file says. */
const decode = async (link) => {
  const blob = new Blob([bytesOf(link.slice(link.indexOf(",") + 1))], { type: "image/png" });
  const bitmap = await createImageBitmap(blob, { colorSpaceConversion: "none" });
  const canvas = make("canvas", { width: bitmap.width, height: bitmap.height });
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  return context.getImageData(0, 0, canvas.width, canvas.height);
};

/** One slice of a decoded sheet as grey values, row by row. */
const tile = (pixels, sheet, index) => {
  const left = (index % sheet.columns) * sheet.width;
  const top = Math.floor(index / sheet.columns) * sheet.height;
  const out = new Uint8Array(sheet.width * sheet.height);
  for (let row = 0; row < sheet.height; row += 1) {
    let from = ((top + row) * pixels.width + left) * 4;
    const start = row * sheet.width;
    for (let column = 0; column < sheet.width; column += 1, from += 4) out[start + column] = pixels.data[from];
  }
  return out;
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
