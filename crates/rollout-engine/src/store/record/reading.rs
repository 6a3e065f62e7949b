//! Owns the frozen form of what was read from a deployment. The order of fields and variants is the format.

use rollout_core::{
    Basis, Expectation, Extent, Fault, FaultClass, FunctionCall, Judged, JudgedReading, Measured,
    Probe, ProbeAnswer, ProbeKind, ProbeState, Purpose, Scalar, Verdict, Written,
};
use serde::{Deserialize, Serialize};

use super::mirror::{Entries, FloatBits, Mirror, Misfit, Moment, mirror, within};

mirror! {
    pub(super) enum PurposeV1 of Purpose {
        Baseline,
        Preflight(phase: u8),
        Verification(phase: u8),
        Check,
        Recovery,
        Final,
        Smoke,
        // From here on: version 2.
        Backfill(to: Moment),
    }
}

mirror! {
    pub(super) struct JudgedReadingV3 of JudgedReading {
        flags: Result<Entries<String, Option<String>>, FaultV1>,
        writes: Entries<String, WrittenV3>,
        push: Option<Moment>,
        cursors: Entries<String, String>,
        judged: Vec<JudgedV3>,
        probes: Vec<ProbeAnswerV1>,
        verdict: VerdictV1,
    }
}

mirror! {
    pub(super) struct FaultV1 of Fault {
        class: FaultClassV1,
        code: Option<String>,
        reason: String,
    }
}

mirror! {
    pub(super) enum FaultClassV1 of FaultClass {
        Transient,
        Permanent,
        Unknown,
    }
}

mirror! {
    pub(super) struct JudgedV3 of Judged {
        criterion: String,
        measured: MeasuredV1,
        verdict: VerdictV1,
        reason: Option<String>,
        basis: Option<BasisV3>,
    }
}

mirror! {
    pub(super) struct BasisV3 of Basis {
        from: Moment,
        to: Moment,
        samples: Option<u64>,
        extent: ExtentV3,
    }
}

mirror! {
    pub(super) enum ExtentV3 of Extent {
        Whole,
        Part,
    }
}

mirror! {
    pub(super) struct WrittenV3 of Written {
        at: Moment,
        by: Option<String>,
    }
}

mirror! {
    pub(super) enum MeasuredV1 of Measured {
        Number(number: FloatBits),
        Text(text: String),
        Missing(reason: String),
        Failed(reason: String),
    }
}

mirror! {
    pub(super) enum VerdictV1 of Verdict {
        Pass,
        Warn,
        NoData,
        Error,
        Breach,
    }
}

mirror! {
    pub(super) struct ProbeAnswerV1 of ProbeAnswer {
        probe: String,
        state: ProbeStateV1,
        found: String,
    }
}

mirror! {
    pub(super) enum ProbeStateV1 of ProbeState {
        Met,
        NotMet,
        Failed,
    }
}

mirror! {
    pub(super) struct FunctionCallV1 of FunctionCall {
        path: String,
        args: String,
    }
}

mirror! {
    pub(super) struct ProbeV1 of Probe {
        name: String,
        kind: ProbeKindV1,
    }
}

mirror! {
    pub(super) enum ProbeKindV1 of ProbeKind {
        VariableSet(flag: String),
        Function { call: FunctionCallV1, pointer: String, expect: ExpectationV1 },
    }
}

mirror! {
    pub(super) enum ExpectationV1 of Expectation {
        Answers,
        Equals(value: ScalarV1),
    }
}

mirror! {
    pub(super) enum ScalarV1 of Scalar {
        Boolean(value: bool),
        Number(number: FloatBits),
        Text(text: String),
    }
}
