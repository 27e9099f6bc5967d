//! The hazards of comparing positions, each by its name; and who becomes primary.
