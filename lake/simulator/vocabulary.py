"""Words of the simulated world: topics, and titles made of a few words. Only near-duplicates share the set of their words."""

from __future__ import annotations

from collections import Counter

import numpy as np
from numpy.typing import NDArray

from features.arrays import I32
from lake.simulator.config import LANGUAGES, WorldConfig

TOPICS = (
    "technology", "programming", "data-science", "machine-learning", "design", "startups", "productivity", "writing",
    "psychology", "politics", "health", "relationships", "money", "science", "books", "travel", "food", "music", "film",
    "history", "philosophy", "education", "parenting", "climate", "space", "cybersecurity", "gaming", "photography",
    "fitness", "mindfulness", "marketing", "leadership", "culture", "sports", "art", "cities", "justice", "crypto",
    "mathematics", "gardening",
)  # fmt: skip
"""Most popular first: the share of users interested falls with the rank."""

ADJECTIVES = {
    "en": ("Quiet", "Honest", "Hidden", "Simple", "Costly", "Early", "Slow", "Strange", "Useful", "Lost", "Bold", "Small",
           "Gentle", "Practical", "Broken", "Curious", "Modern", "Forgotten", "Patient", "Unfinished"),
    "es": ("Sencilla", "Honesta", "Oculta", "Lenta", "Valiente", "Nueva", "Tranquila", "Olvidada", "Curiosa", "Inesperada"),
    "pt": ("Simples", "Honesta", "Escondida", "Lenta", "Corajosa", "Nova", "Tranquila", "Esquecida", "Curiosa", "Inesperada"),
    "de": ("Stille", "Ehrliche", "Verborgene", "Langsame", "Mutige", "Neue", "Kluge", "Vergessene", "Kleine", "Seltsame"),
    "fr": ("Simple", "Honnête", "Cachée", "Lente", "Audacieuse", "Nouvelle", "Tranquille", "Oubliée", "Curieuse", "Étrange"),
}  # fmt: skip
NOUNS = {
    "en": ("Lesson", "Habit", "Mistake", "Story", "Question", "Method", "Promise", "Map", "Letter", "Theory", "Rule", "Guide",
           "Experiment", "Diary", "Argument", "Craft", "Pattern", "Trade", "Rhythm", "Bargain"),
    "es": ("Lección", "Costumbre", "Historia", "Pregunta", "Idea", "Carta", "Teoría", "Guía", "Regla", "Promesa"),
    "pt": ("Lição", "Rotina", "História", "Pergunta", "Ideia", "Carta", "Teoria", "Viagem", "Regra", "Promessa"),
    "de": ("Lektion", "Gewohnheit", "Geschichte", "Frage", "Idee", "Karte", "Theorie", "Reise", "Regel", "Methode"),
    "fr": ("Leçon", "Habitude", "Histoire", "Question", "Idée", "Lettre", "Théorie", "Méthode", "Règle", "Promesse"),
}  # fmt: skip
SETTINGS = {
    "en": ("After Ten Years", "for Beginners", "in a Small Team", "Before Breakfast", "at the Kitchen Table", "on a Budget",
           "Nobody Taught Me", "for the Long Run", "in Plain Words", "From the Other Side", "Under Pressure", "One Winter Later",
           "for Busy People", "in the Night Shift", "Worth Keeping", "Between Two Jobs"),
    "es": ("después de diez años", "para principiantes", "en un equipo pequeño", "con poco dinero", "a largo plazo",
           "en palabras sencillas", "bajo presión", "antes del desayuno"),
    "pt": ("depois de dez anos", "para iniciantes", "em uma equipe pequena", "com pouco dinheiro", "a longo prazo",
           "em palavras simples", "sob pressão", "antes do café"),
    "de": ("nach zehn Jahren", "für Anfänger", "im kleinen Team", "mit wenig Geld", "auf lange Sicht", "in klaren Worten",
           "unter Druck", "vor dem Frühstück"),
    "fr": ("après dix ans", "pour débutants", "en petite équipe", "avec peu de moyens", "sur la durée", "en mots simples",
           "sous pression", "avant le petit déjeuner"),
}  # fmt: skip
PATTERNS = {
    "en": "The {adjective} {noun} of {topic} {setting}",
    "es": "La {adjective} {noun} de {topic} {setting}",
    "pt": "A {adjective} {noun} de {topic} {setting}",
    "de": "Die {adjective} {noun} über {topic} {setting}",
    "fr": "La {adjective} {noun} de {topic} {setting}",
}
NUMBERED = {"en": "Part", "es": "parte", "pt": "parte", "de": "Teil", "fr": "partie"}
"""Distinguishes titles that chance made equal: only declared near-duplicates share their words."""


def titles(config: WorldConfig, languages: NDArray[np.int8], topics: NDArray[np.int16], copy_of: I32) -> list[str]:
    """A title a story, from its language (index into LANGUAGES) and first topic; `copy_of` is the original's row or -1."""
    picks = config.random("titles").integers(0, 1 << 30, (len(languages), 4))
    used: Counter[str] = Counter()
    out: list[str] = []
    for row, (language, topic, original) in enumerate(
        zip(languages.tolist(), topics.tolist(), copy_of.tolist(), strict=True)
    ):
        if original >= 0:
            out.append(vary(out[original], int(picks[row, 0])))
        else:
            out.append(_fresh(LANGUAGES[language], TOPICS[topic], picks[row].tolist(), used))
    return out


def _fresh(language: str, topic: str, picks: list[int], used: Counter[str]) -> str:
    adjective, noun, setting = (
        words[language][pick % len(words[language])]
        for words, pick in zip((ADJECTIVES, NOUNS, SETTINGS), picks, strict=False)
    )
    title = PATTERNS[language].format(
        adjective=adjective, noun=noun, topic=topic.replace("-", " ").title(), setting=setting
    )
    used[title] += 1
    return title if used[title] == 1 else f"{title}, {NUMBERED[language]} {used[title]}"


def vary(title: str, pick: int) -> str:
    """The same words in another case, punctuation or order: what a near-duplicate is called."""
    words = title.split()
    return (title.upper(), title + "!", title.lower().replace(",", ""), " ".join((*words[2:], *words[:2])))[pick % 4]
