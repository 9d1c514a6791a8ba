use super::*;

const MINIMAL: &str = r#"<?xml version="1.0"?>
<i:ismrmrdHeader xmlns:i="http://www.ismrm.org/ISMRMRD">
 <i:measurementInformation><i:patientPosition>HFS</i:patientPosition></i:measurementInformation>
 <i:encoding>
  <i:encodedSpace><i:matrixSize><i:x>640</i:x><i:y>320.000000</i:y><i:z>1</i:z></i:matrixSize>
   <i:fieldOfView_mm><i:x>440</i:x><i:y>220</i:y><i:z>3</i:z></i:fieldOfView_mm></i:encodedSpace>
  <i:reconSpace><i:matrixSize><i:x>320</i:x><i:y>320</i:y><i:z>1</i:z></i:matrixSize>
   <i:fieldOfView_mm><i:x>220</i:x><i:y>220</i:y><i:z>3</i:z></i:fieldOfView_mm></i:reconSpace>
  <i:encodingLimits><i:kspace_encoding_step_1><i:minimum>0</i:minimum><i:maximum>319</i:maximum><i:center>160</i:center></i:kspace_encoding_step_1></i:encodingLimits>
  <i:trajectory>cartesian</i:trajectory><i:unheardOf><i:x>y</i:x></i:unheardOf>
  <i:parallelImaging><i:accelerationFactor><i:kspace_encoding_step_1>4</i:kspace_encoding_step_1></i:accelerationFactor></i:parallelImaging>
 </i:encoding>
 <i:sequenceParameters><i:TE>10</i:TE><i:TE>20.5</i:TE></i:sequenceParameters>
</i:ismrmrdHeader>"#;

#[test]
fn elements_are_found_under_any_prefix() -> Result<()> {
    let (header, warnings) = parse(MINIMAL)?;
    assert!(warnings.is_empty());
    let encoding = &header.encodings[0];
    assert_eq!(encoding.encoded.matrix, [640, 320, 1]);
    assert_eq!(encoding.recon.field_of_view_mm, [220.0, 220.0, 3.0]);
    assert_eq!(encoding.limits.step_1, Some(Limit { minimum: 0, maximum: 319, center: 160 }));
    assert_eq!(encoding.acceleration, Some([4.0, 1.0]));
    assert_eq!(header.sequence.te_ms, [10.0, 20.5]);
    assert_eq!(header.patient_position.as_deref(), Some("HFS"));
    assert_eq!(parse(&MINIMAL.replace("i:", "").replace(":i=", "="))?.0, header);
    Ok(())
}

#[test]
fn trajectories_keep_only_names_of_the_standard() -> Result<()> {
    let with = |name: &str| parse(&MINIMAL.replace(">cartesian<", &format!(">{name}<"))).map(|(header, _)| header);
    assert_eq!(with("radial   ")?.encodings[0].trajectory, Trajectory::Other("radial".to_owned()));
    assert_eq!(with("EPI")?.encodings[0].trajectory, Trajectory::Epi);
    assert_eq!(with("Jane Doe")?.encodings[0].trajectory, Trajectory::Other("other".to_owned()));
    Ok(())
}

#[test]
fn what_is_missing_is_zero_and_what_is_no_number_is_left_out() -> Result<()> {
    let (header, warnings) = parse(&MINIMAL.replacen("<i:y>320.000000</i:y>", "", 1))?;
    assert_eq!((header.encodings[0].encoded.matrix, warnings.len()), ([640, 0, 1], 0));
    assert_eq!(parse("<ismrmrdHeader/>")?, (Header::default(), Vec::new()));
    for wrong in [">-3<", ">Jane Doe<", ">1.5<", ">1e30<", ">nan<"] {
        let (header, warnings) = parse(&MINIMAL.replace(">320.000000<", wrong))?;
        assert_eq!(header.encodings[0].encoded.matrix, [640, 0, 1], "{wrong}");
        assert!(warnings[0].contains("encodedSpace/matrixSize/y") && !warnings[0].contains("Jane"), "{warnings:?}");
    }
    let (header, _) = parse(&MINIMAL.replace("<i:maximum>319</i:maximum>", ""))?;
    assert_eq!(header.encodings[0].limits.step_1, None);
    let (_, warnings) = parse(&MINIMAL.replace("<i:TE>10</i:TE>", &"<i:TE>fast</i:TE>".repeat(1000)))?;
    assert_eq!(warnings.len(), 1);
    Ok(())
}

/// As `siemens_to_ismrmrd` writes what this reader asks for.
const CONVERTED: &str = r#"<?xml version="1.0" encoding="utf-8"?>
<ismrmrdHeader xmlns="http://www.ismrm.org/ISMRMRD" xmlns:xs="http://www.w3.org/2001/XMLSchema">
 <measurementInformation><measurementID>66048_100_101_103</measurementID><patientPosition>HFS</patientPosition>
  <measurementDependency><dependencyType>SenMap</dependencyType><measurementID>66048_100_101_99</measurementID></measurementDependency>
  <measurementDependency><dependencyType>Noise</dependencyType><measurementID>66048_100_101_98</measurementID></measurementDependency>
 </measurementInformation>
 <acquisitionSystemInformation><relativeReceiverNoiseBandwidth>0.79</relativeReceiverNoiseBandwidth>
  <receiverChannels>2</receiverChannels>
  <coilLabel><coilNumber>1</coilNumber><coilName>HeadNeck_20:1:H12</coilName></coilLabel>
  <coilLabel><coilNumber>0</coilNumber><coilName>HeadNeck_20:1:H11</coilName></coilLabel>
 </acquisitionSystemInformation>
 <encoding><trajectory>epi</trajectory>
  <trajectoryDescription><identifier>ConventionalEPI</identifier>
   <userParameterLong><name>etl</name><value>64</value></userParameterLong>
   <userParameterLong><name>numberOfNavigators</name><value>3</value></userParameterLong>
   <userParameterLong><name>rampUpTime</name><value>130</value></userParameterLong>
   <userParameterLong><name>rampDownTime</name><value>140</value></userParameterLong>
   <userParameterLong><name>flatTopTime</name><value>360</value></userParameterLong>
   <userParameterLong><name>echoSpacing</name><value>630</value></userParameterLong>
   <userParameterLong><name>acqDelayTime</name><value>33</value></userParameterLong>
   <userParameterLong><name>numSamples</name><value>188</value></userParameterLong>
   <userParameterDouble><name>dwellTime</name><value>3.0</value></userParameterDouble>
   <comment>Conventional 2D EPI sequence</comment></trajectoryDescription>
 </encoding>
</ismrmrdHeader>"#;

#[test]
fn ramps_coils_and_dependencies_of_converted_scans_are_read() -> Result<()> {
    let (header, warnings) = parse(CONVERTED)?;
    let ramp = Ramp { up_us: 130.0, flat_us: 360.0, down_us: 140.0, delay_us: 33.0, dwell_us: 3.0, ..Ramp::default() };
    assert_eq!(header.encodings[0].ramp, Some(ramp));
    assert_eq!(header.encodings[0].trajectory, Trajectory::Epi);
    assert_eq!(header.system.coil_names, ["HeadNeck_20:1:H11", "HeadNeck_20:1:H12"]);
    assert_eq!(header.noise_dependency.as_deref(), Some("66048_100_101_98"));
    assert_eq!(header.dependencies, ["66048_100_101_99"]);
    assert_eq!(header.measurement_id.as_deref(), Some("66048_100_101_103"));
    assert!(warnings.is_empty(), "{warnings:?}");
    let (header, _) = parse(&CONVERTED.replace(">acqDelayTime<", ">other<"))?;
    assert_eq!(header.encodings[0].ramp, None);
    Ok(())
}

#[test]
fn hostile_text_is_refused() {
    let bomb = r#"<!DOCTYPE b [<!ENTITY a "aaaa"><!ENTITY c "&a;&a;">]><ismrmrdHeader>&c;</ismrmrdHeader>"#;
    let many = format!("<a>{}</a>", "<b/>".repeat(300_000));
    for text in [bomb, "<a>&c;</a>", "<a>", "", "not xml", "<a></b>", &"<a>".repeat(100_000), &many] {
        assert!(parse(text).is_err(), "{}", &text[..text.len().min(40)]);
    }
    let error = parse("<a><Jane></Doe></a>").map_err(|error| error.to_string());
    assert!(error.is_err_and(|text| text.contains("at byte") && !text.contains("Jane") && !text.contains("Doe")));
}

proptest::proptest! {
    #[test]
    fn damaged_headers_never_panic(at in 0..MINIMAL.len(), byte in proptest::prelude::any::<char>(), cut in proptest::prelude::any::<bool>()) {
        let mut text: Vec<char> = MINIMAL.chars().collect();
        let at = at.min(text.len() - 1);
        text[at] = byte;
        if cut {
            text.truncate(at);
        }
        let _ = parse(&text.into_iter().collect::<String>());
    }
}
