/* global byId, data, showSlices, showMap, showComparison, showVolume, position */
// Makes the pictures of the report move. Without this the page shows them all as they are.

const pictures = data("pictures");
// A picture that cannot be unpacked stays as plain as it was.
const slices = pictures.frames.length > 0 ? await showSlices(pictures).catch(() => null) : null;
const place = slices?.place ?? position(pictures.maps[0]?.sheet.count ?? 1);
pictures.maps.forEach((map, index) => showMap(map, index, place).catch(() => {}));
if (pictures.compared.length > 0) showComparison();
if (slices && byId("volume")) showVolume(pictures, slices);
