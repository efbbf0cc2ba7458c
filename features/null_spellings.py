"""What tools write where there is nothing. As ids these would make one user of all who have none."""

BACKSLASH_N = "\\N"
NULL_SPELLINGS = (
    BACKSLASH_N, "NULL", "Null", "null", "NA", "N/A", "n/a", "#N/A", "<NA>", "NaN", "nan", "NaT", "None", "undefined",
)  # fmt: skip
"""Of MySQL and Hive, SQL, R, spreadsheets, pandas, Python and JavaScript. `none` and `nil` are left out: no tool writes them, and
sites have topics of that name. `features.settings.Settings.ids_like_null` says which are ids at a site."""
