/* global make, byId, bytesOf, tile */
// The 3-D view: NiiVue, unpacked from the page when somebody asks for it.

/** The slices as a NIfTI-1 file of bytes, with the affine of the sheet. */
const nifti = (picture, sheet, space) => {
  const HEADER = 352;
  const size = sheet.width * sheet.height;
  const buffer = new ArrayBuffer(HEADER + size * sheet.count);
  const view = new DataView(buffer);
  const small = (at, values) => values.forEach((value, index) => view.setInt16(at + 2 * index, value, true));
  const real = (at, values) => values.forEach((value, index) => view.setFloat32(at + 4 * index, value, true));
  const { affine } = space;
  const length = (axis) => Math.hypot(...affine.map((row) => row[axis]));
  view.setInt32(0, 348, true);
  small(40, [3, sheet.width, sheet.height, sheet.count, 1, 1, 1, 1]);
  // Unsigned bytes of 8 bits.
  small(70, [2, 8]);
  real(76, [1, length(0), length(1), length(2), 0, 0, 0, 0]);
  real(108, [HEADER, 1, 0]);
  // Millimetres; the affine is of the scanner where its directions are known.
  view.setUint8(123, 2);
  small(252, [0, space.known ? 1 : 2]);
  affine.forEach((row, index) => real(280 + 16 * index, row));
  new Uint8Array(buffer, 344, 4).set([0x6e, 0x2b, 0x31, 0]);
  const voxels = new Uint8Array(buffer, HEADER);
  for (let index = 0; index < sheet.count; index += 1) voxels.set(tile(picture, sheet, index), index * size);
  return buffer;
};

/** Runs the viewer's code. The policy of the page knows its hash. */
const loadViewer = async () => {
  if (!globalThis.niivue) {
    const packed = new Blob([bytesOf(byId("viewer-code").textContent)]);
    const code = await new Response(packed.stream().pipeThrough(new DecompressionStream("gzip"))).text();
    document.head.append(make("script", { textContent: code }));
  }
  return globalThis.niivue;
};

const showVolume = (pictures, slices) => {
  const home = byId("volume");
  const actions = byId("actions");
  if (!document.createElement("canvas").getContext("webgl2")) {
    actions.append(make("p", { className: "hint", id: "no-volume" }, "The 3-D view is off: it needs WebGL 2, which this browser does not offer. The slices show the same images."));
    return;
  }
  const open = make("button", { type: "button", id: "open-volume", "aria-expanded": "false", textContent: "3-D view" });
  actions.append(open);

  const start = async () => {
    const canvas = make("canvas", { "aria-label": "3-D view" });
    const stage = make("div", { className: "stage" }, canvas);
    const planes = make("button", { type: "button", textContent: "Planes" });
    const surface = make("button", { type: "button", textContent: "Rendering" });
    home.replaceChildren(stage, make("div", { className: "actions" }, planes, surface));
    home.hidden = false;
    const { Niivue } = await loadViewer();
    const viewer = new Niivue({
      backColor: [0.03, 0.035, 0.04, 1],
      crosshairColor: [0.52, 0.75, 0.9, 0.8],
      crosshairWidth: 0.6,
      // The patient's left on the right, as in the slices.
      isRadiologicalConvention: true,
      isOrientationTextVisible: pictures.space.known,
      logLevel: "error",
      show3Dcrosshair: false,
    });
    await viewer.attachToCanvas(canvas);
    await viewer.loadFromArrayBuffer(nifti(await slices.picture(), slices.layout(), pictures.space), "scan.nii");
    const select = (type, dark) => {
      // Rendering leaves the noise around the object out.
      viewer.volumes[0].cal_min = dark;
      viewer.volumes[0].cal_max = 255;
      viewer.updateGLVolume();
      viewer.setSliceType(type);
      planes.setAttribute("aria-pressed", String(type === viewer.sliceTypeMultiplanar));
      surface.setAttribute("aria-pressed", String(type === viewer.sliceTypeRender));
    };
    planes.addEventListener("click", () => select(viewer.sliceTypeMultiplanar, 0));
    surface.addEventListener("click", () => select(viewer.sliceTypeRender, 40));
    select(viewer.sliceTypeMultiplanar, 0);
    home.dataset.ready = "true";
  };

  let started = null;
  open.addEventListener("click", async () => {
    const show = open.getAttribute("aria-expanded") === "false";
    open.setAttribute("aria-expanded", String(show));
    open.textContent = show ? "Close 3-D view" : "3-D view";
    home.hidden = !show;
    if (!show) return;
    started ??= start();
    try {
      await started;
    } catch {
      home.replaceChildren(make("p", { className: "hint" }, "The 3-D view could not be started in this browser. The slices show the same images."));
    }
  });
};
