//! Owns how a core value and its frozen form on disk turn into each other: the trait, the macro that writes it for a
//! struct or an enum, and the forms of plain values.
//!
//! Refuses to lose anything: floats travel as bits, times as whole nanoseconds, maps in rising order of their keys. A
//! value that the core does not take names its field on the way out.

use std::collections::BTreeMap;
use std::fmt;

use jiff::{SignedDuration, Timestamp};
use rollout_core::{Coverage, FlagName, IncidentNumber, PhaseNumber, RolloutId};

/// The frozen form of `Core` on disk.
pub(super) trait Mirror<Core>: Sized {
    /// Copies a core value.
    fn to_disk(core: &Core) -> Self;

    /// Gives the core value back, or says which field is none.
    fn from_disk(disk: Self) -> Result<Core, Misfit>;
}

/// A value on disk that the core does not take.
#[derive(Debug)]
pub(super) struct Misfit {
    /// Path from the event to the value.
    pub(super) field: String,
    /// What belongs there.
    pub(super) expected: &'static str,
    /// What is there.
    pub(super) found: String,
}

impl Misfit {
    pub(super) fn new(expected: &'static str, found: impl fmt::Debug) -> Self {
        Self { field: String::new(), expected, found: format!("{found:?}") }
    }
}

/// Puts the name of the place where `value` stands before the path of its misfit.
pub(super) fn within<Core>(
    place: impl fmt::Display,
    value: Result<Core, Misfit>,
) -> Result<Core, Misfit> {
    value.map_err(|Misfit { field, expected, found }| {
        let field = match field.is_empty() {
            true => place.to_string(),
            false => format!("{place}.{field}"),
        };
        Misfit { field, expected, found }
    })
}

/// Declares the frozen form of a core struct or enum.
///
/// `struct DiskV1 of Core { field: DiskType, … }` has the core's field names; `enum DiskV1 of Core { … }` has the core's
/// variants, where one that is a tuple in the core, `Core::Text(String)`, gives its value a name: `Text(text: String)`.
/// Both match the core type exhaustively. Order is what goes to disk.
macro_rules! mirror {
    ($(#[$doc:meta])* $vis:vis struct $disk:ident of $core:ident {
        $($field:ident: $form:ty),+ $(,)?
    }) => {
        $(#[$doc])*
        #[derive(Debug, Serialize, Deserialize)]
        $vis struct $disk {
            $($field: $form),+
        }

        impl Mirror<$core> for $disk {
            fn to_disk(core: &$core) -> Self {
                let $core { $($field),+ } = core;
                Self { $($field: Mirror::to_disk($field)),+ }
            }

            fn from_disk(disk: Self) -> Result<$core, Misfit> {
                Ok($core {
                    $($field: within(stringify!($field), Mirror::from_disk(disk.$field))?),+
                })
            }
        }
    };

    ($(#[$doc:meta])* $vis:vis enum $disk:ident of $core:ident {
        $($variant:ident
            $(($inner:ident: $inner_form:ty))?
            $({ $($field:ident: $form:ty),+ $(,)? })?
        ),+ $(,)?
    }) => {
        $(#[$doc])*
        #[derive(Debug, Serialize, Deserialize)]
        $vis enum $disk {
            $($variant { $($inner: $inner_form)? $($($field: $form),+)? }),+
        }

        impl Mirror<$core> for $disk {
            fn to_disk(core: &$core) -> Self {
                match core {
                    $($core::$variant { $(0: $inner)? $($($field),+)? } => Self::$variant {
                        $($inner: Mirror::to_disk($inner))?
                        $($($field: Mirror::to_disk($field)),+)?
                    }),+
                }
            }

            fn from_disk(disk: Self) -> Result<$core, Misfit> {
                Ok(match disk {
                    $(Self::$variant { $($inner)? $($($field),+)? } => $core::$variant {
                        $(0: within(stringify!($variant), Mirror::from_disk($inner))?)?
                        $($($field: within(
                            concat!(stringify!($variant), ".", stringify!($field)),
                            Mirror::from_disk($field),
                        )?),+)?
                    }),+
                })
            }
        }
    };
}

pub(super) use mirror;

/// A form that is the value itself.
macro_rules! mirror_itself {
    ($($plain:ty),+) => {
        $(impl Mirror<$plain> for $plain {
            fn to_disk(core: &$plain) -> Self {
                core.clone()
            }

            fn from_disk(disk: Self) -> Result<$plain, Misfit> {
                Ok(disk)
            }
        })+
    };
}

mirror_itself!(bool, u8, u32, u64, String);

/// A form that is a number or a text which the core may refuse.
macro_rules! mirror_checked {
    ($($core:ty as $disk:ty: $expected:literal, $get:expr, $take:expr;)+) => {
        $(impl Mirror<$core> for $disk {
            fn to_disk(core: &$core) -> Self {
                let get: fn(&$core) -> $disk = $get;
                get(core)
            }

            fn from_disk(disk: Self) -> Result<$core, Misfit> {
                let take: fn(&$disk) -> Option<$core> = $take;
                take(&disk).ok_or_else(|| Misfit::new($expected, disk))
            }
        })+
    };
}

/// A float as its bits, so that every NaN stays the one it was.
pub(super) type FloatBits = u64;

/// A moment as nanoseconds since 1970, UTC.
pub(super) type Moment = i128;

/// A length of time in nanoseconds; negative = backward.
pub(super) type Span = i128;

/// A map as its entries, in rising order of the keys.
pub(super) type Entries<Key, Value> = Vec<(Key, Value)>;

mirror_checked! {
    RolloutId as u64: "the number of a rollout", |id| id.get(), |id| RolloutId::new(*id);
    PhaseNumber as u8: "the number of a phase", |phase| phase.get(), |phase| PhaseNumber::new(*phase);
    IncidentNumber as u32: "the number of an incident", |number| number.get(), |number| IncidentNumber::new(*number);
    Coverage as u16: "a share in basis points", |share| share.basis_points(), |share| Coverage::from_basis_points(*share);
    FlagName as String: "the name of a flag", |name| name.as_str().to_owned(), |name| FlagName::new(name);
    f64 as FloatBits: "a number", |number| number.to_bits(), |bits| Some(f64::from_bits(*bits));
    Timestamp as Moment: "a moment", |at| at.as_nanosecond(), |nanos| Timestamp::from_nanosecond(*nanos).ok();
    SignedDuration as Span: "a length of time", SignedDuration::as_nanos, |nanos| SignedDuration::try_from_nanos_i128(*nanos);
}

impl<Core, Disk: Mirror<Core>> Mirror<Box<Core>> for Box<Disk> {
    fn to_disk(core: &Box<Core>) -> Self {
        Self::new(Disk::to_disk(core))
    }

    fn from_disk(disk: Self) -> Result<Box<Core>, Misfit> {
        Disk::from_disk(*disk).map(Box::new)
    }
}

impl<Core, Disk: Mirror<Core>> Mirror<Option<Core>> for Option<Disk> {
    fn to_disk(core: &Option<Core>) -> Self {
        core.as_ref().map(Disk::to_disk)
    }

    fn from_disk(disk: Self) -> Result<Option<Core>, Misfit> {
        disk.map(Disk::from_disk).transpose()
    }
}

impl<Core, Disk, CoreError, DiskError> Mirror<Result<Core, CoreError>> for Result<Disk, DiskError>
where
    Disk: Mirror<Core>,
    DiskError: Mirror<CoreError>,
{
    fn to_disk(core: &Result<Core, CoreError>) -> Self {
        core.as_ref().map(Disk::to_disk).map_err(DiskError::to_disk)
    }

    fn from_disk(disk: Self) -> Result<Result<Core, CoreError>, Misfit> {
        Ok(match disk {
            Ok(value) => Ok(Disk::from_disk(value)?),
            Err(error) => Err(DiskError::from_disk(error)?),
        })
    }
}

impl<Core, Disk: Mirror<Core>> Mirror<Vec<Core>> for Vec<Disk> {
    fn to_disk(core: &Vec<Core>) -> Self {
        core.iter().map(Disk::to_disk).collect()
    }

    fn from_disk(disk: Self) -> Result<Vec<Core>, Misfit> {
        let values = disk.into_iter().enumerate();
        values.map(|(place, value)| within(place, Disk::from_disk(value))).collect()
    }
}

impl<CoreOne, CoreTwo, One, Two> Mirror<(CoreOne, CoreTwo)> for (One, Two)
where
    One: Mirror<CoreOne>,
    Two: Mirror<CoreTwo>,
{
    fn to_disk((one, two): &(CoreOne, CoreTwo)) -> Self {
        (One::to_disk(one), Two::to_disk(two))
    }

    fn from_disk((one, two): Self) -> Result<(CoreOne, CoreTwo), Misfit> {
        Ok((within(0, One::from_disk(one))?, within(1, Two::from_disk(two))?))
    }
}

impl<CoreKey, CoreValue, Key, Value> Mirror<BTreeMap<CoreKey, CoreValue>> for Entries<Key, Value>
where
    CoreKey: Ord + fmt::Debug,
    Key: Mirror<CoreKey>,
    Value: Mirror<CoreValue>,
{
    fn to_disk(core: &BTreeMap<CoreKey, CoreValue>) -> Self {
        core.iter().map(|(key, value)| (Key::to_disk(key), Value::to_disk(value))).collect()
    }

    fn from_disk(disk: Self) -> Result<BTreeMap<CoreKey, CoreValue>, Misfit> {
        let mut map = BTreeMap::new();
        let entries: Vec<(CoreKey, CoreValue)> = Mirror::from_disk(disk)?;
        for (place, (key, value)) in entries.into_iter().enumerate() {
            if map.last_key_value().is_some_and(|(last, _)| *last >= key) {
                return within(place, Err(Misfit::new("a key beyond the one before it", key)));
            }
            map.insert(key, value);
        }
        Ok(map)
    }
}
