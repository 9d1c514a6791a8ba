/* global byId, data, showSlices, showMap, showComparison, showVolume, position */
// Makes the pictures of the report move. Without this the page shows them all as they are.

const pictures = data("pictures");
const slices = pictures.frames.length > 0 ? showSlices(pictures) : null;
const place = slices?.place ?? position(pictures.maps[0]?.sheet.count ?? 1);
pictures.maps.forEach((map, index) => showMap(map, index, place));
if (pictures.compared.length > 0) showComparison();
if (slices && byId("volume")) showVolume(pictures, slices);
