"""Run → a sentence, tables, result.json, timelines, comparisons."""
