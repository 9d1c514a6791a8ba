//! The XML header of the phantom, complete by the ISMRMRD schema.

use std::fmt::Write;

use super::{Phantom, SLICE_THICKNESS_MM};

/// Field of view along readout and phase encoding, mm.
const FIELD_OF_VIEW_MM: usize = 220;

/// The header of the accelerated scan, or of its fully sampled twin.
pub(super) fn xml(phantom: &Phantom, acceleration: usize) -> String {
    let Phantom { slices, coils, matrix, .. } = *phantom;
    let (last_line, centre, last_slice, middle) = (matrix - 1, matrix / 2, slices - 1, slices / 2);
    let space = |name: &str, factor: usize| {
        let (x, fov_x) = (factor * matrix, factor * FIELD_OF_VIEW_MM);
        format!(
            "<{name}><matrixSize><x>{x}</x><y>{matrix}</y><z>1</z></matrixSize><fieldOfView_mm><x>{fov_x}</x>\
             <y>{FIELD_OF_VIEW_MM}</y><z>{SLICE_THICKNESS_MM}</z></fieldOfView_mm></{name}>"
        )
    };
    let (encoded, recon) = (space("encodedSpace", 2), space("reconSpace", 1));
    let labels = (0..coils).fold(String::new(), |mut text, coil| {
        // Writing to a string cannot fail.
        let _ = write!(
            text,
            "<coilLabel><coilNumber>{coil}</coilNumber><coilName>Loop_{}</coilName></coilLabel>",
            coil + 1
        );
        text
    });
    let parallel = if acceleration > 1 {
        format!(
            "<parallelImaging><accelerationFactor><kspace_encoding_step_1>{acceleration}</kspace_encoding_step_1>\
             <kspace_encoding_step_2>1</kspace_encoding_step_2></accelerationFactor>\
             <calibrationMode>embedded</calibrationMode></parallelImaging>"
        )
    } else {
        String::new()
    };
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <ismrmrdHeader xmlns=\"http://www.ismrm.org/ISMRMRD\">\
         <measurementInformation><measurementID>1</measurementID><patientPosition>HFS</patientPosition>\
         <protocolName>analytic_head</protocolName></measurementInformation>\
         <acquisitionSystemInformation><systemVendor>raki-cloud</systemVendor>\
         <systemModel>analytic phantom</systemModel><systemFieldStrength_T>3</systemFieldStrength_T>\
         <relativeReceiverNoiseBandwidth>1</relativeReceiverNoiseBandwidth>\
         <receiverChannels>{coils}</receiverChannels>{labels}</acquisitionSystemInformation>\
         <experimentalConditions><H1resonanceFrequency_Hz>123200000</H1resonanceFrequency_Hz>\
         </experimentalConditions>\
         <encoding>{encoded}{recon}<encodingLimits>\
         <kspace_encoding_step_1><minimum>0</minimum><maximum>{last_line}</maximum><center>{centre}</center>\
         </kspace_encoding_step_1>\
         <slice><minimum>0</minimum><maximum>{last_slice}</maximum><center>{middle}</center></slice>\
         </encodingLimits><trajectory>cartesian</trajectory>{parallel}</encoding>\
         <sequenceParameters><TR>500</TR><TE>10</TE><flipAngle_deg>70</flipAngle_deg></sequenceParameters>\
         </ismrmrdHeader>\n"
    )
}
