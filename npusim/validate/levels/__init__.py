"""The analytic level held against every transaction of the same programs."""
