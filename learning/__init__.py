"""Learned ranking: from logged impressions to a model file, its evaluation, its explanation and its service."""
